"""Handlers of a daemon by who moves devices under them: crun before 1.23 (crishim does), a newer one, runc and youki
(they do)."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.node.netdev import runtimes
from tests.support.daemon import test_program as program

# youki 0.7.0 moves devices and answers "netDevices": null; here it says so.
YOUKI = r"""#!/bin/sh
SAYS='s/"netDevices": null/"netDevices": {{"enabled": true}}/'
if [ "$1" = features ]; then {real} features | sed "$SAYS"; else exec {real} "$@"; fi
"""


def has_youki() -> bool:
    places = os.environ.get("CRISHIM_TEST_BIN", str(Path.home() / ".cache/crishim/bin"))
    return any(os.access(f"{place}/youki", os.X_OK) for place in (*places.split(":"), *os.environ["PATH"].split(":")))


WITH_YOUKI = pytest.param(
    "youki", marks=pytest.mark.skipif(not has_youki(), reason="youki is not built here: hack/setup needs cargo 1.85")
)


def moves_devices(handler: str) -> bool:
    """Whether the runtime of handlers() does, or crishim for it. False for one that is not here."""
    places = os.environ.get("CRISHIM_TEST_BIN", str(Path.home() / ".cache/crishim/bin"))
    runtime = shutil.which(handler, path=f"{places}:{os.environ['PATH']}")
    return runtime is not None and runtimes.moves_devices(Path(runtime))


def handlers(directory: Path) -> dict[str, Any]:
    """crun, runc, runc-built-in and, where it is, youki. directory: for its wrapper."""
    runc = {"path": program("runc")}
    found: dict[str, Any] = {
        "crun": {"path": "crun"},
        "runc": runc,
        "runc-built-in": {**runc, "netdevices": "builtin"},
    }
    if has_youki():
        wrapper = directory / "youki"
        wrapper.write_text(YOUKI.format(real=program("youki")))
        wrapper.chmod(0o755)
        found["youki"] = {"path": str(wrapper), "netdevices": "runtime"}
    return found
