"""Each test gets a throw-away host for each mover; what is left afterwards is counted."""

import importlib.util
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("netdev_lab", Path(__file__).with_name("lab.py"))
assert _spec is not None
assert _spec.loader is not None
lab_module = sys.modules["netdev_lab"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(lab_module)

KITS = lab_module.kits()


@pytest.fixture(params=KITS, ids=[k.name for k in KITS])
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[object]:
    """A throw-away host with a driver that has recovered (from nothing)."""
    with lab_module.counted():
        made = lab_module.Lab(request.param)
        try:
            await made.devices.recover([])
            yield made
        finally:
            made.close()


@pytest.fixture
async def builtin_lab() -> AsyncIterator[object]:
    """The same for what does not depend on the mover: the built-in one, without a container."""
    with lab_module.counted():
        kit = next(k for k in KITS if k.name.startswith("builtin"))
        made = lab_module.Lab(kit)
        try:
            await made.devices.recover([])
            yield made
        finally:
            made.close()


@pytest.fixture
def walk_lab() -> Iterator[object]:
    """A throw-away host for a daemon of its own."""
    with lab_module.counted():
        made = lab_module.Lab(KITS[0])
        try:
            yield made
        finally:
            made.close()
