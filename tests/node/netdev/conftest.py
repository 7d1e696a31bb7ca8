"""Each test gets a throw-away host for each mover; what is left afterwards is counted."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.node.netdev.lab import Lab, counted
from tests.node.netdev.runtimes import kits

KITS = kits()


@pytest.fixture(params=KITS, ids=[k.name for k in KITS])
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    """A throw-away host with a driver that has recovered (from nothing)."""
    with counted():
        made = Lab(request.param)
        try:
            await made.devices.recover([])
            yield made
        finally:
            made.close()


@pytest.fixture
async def builtin_lab() -> AsyncIterator[Lab]:
    """The same for what does not depend on the mover: the built-in one, without a container."""
    with counted():
        kit = next(k for k in KITS if k.name.startswith("builtin"))
        made = Lab(kit)
        try:
            await made.devices.recover([])
            yield made
        finally:
            made.close()


@pytest.fixture
async def watched(builtin_lab: Lab) -> AsyncIterator[Lab]:
    """One whose links are watched, as a daemon does."""
    await builtin_lab.devices.watch()
    yield builtin_lab
    await builtin_lab.devices.close()


@pytest.fixture
def walk_lab() -> Iterator[Lab]:
    """A throw-away host for a daemon of its own."""
    with counted():
        made = Lab(KITS[0])
        try:
            yield made
        finally:
            made.close()
