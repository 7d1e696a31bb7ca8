"""The OCI runtimes of this machine, for tests that run them without the daemon."""

import os
import shutil
from pathlib import Path

BIN = os.environ.get("CRISHIM_TEST_BIN", "")
PATH = f"{os.environ['PATH']}:{BIN}:/usr/sbin"


def tool(name: str) -> str:
    found = shutil.which(name, path=PATH)
    assert found, f"{name} is missing: run hack/setup test"
    return found


def runtimes() -> list[str]:
    """crun, and every runc there is: the distribution's and a newer one differ in what they print and when they end."""
    found = [tool("crun"), tool("runc"), "/usr/sbin/runc"]
    return sorted({os.path.realpath(p) for p in found if os.path.exists(p)})


def creating(runtime: str, directory: Path) -> str:
    """A program that can create containers here.

    crun 1.8 refuses to on a host that has both cgroup hierarchies with a controller in the second. It is shown the
    first one only. Its exec needs no such help.
    """
    second = Path("/sys/fs/cgroup/unified/cgroup.controllers")
    if "crun" not in runtime or not second.exists() or not second.read_text().strip():
        return runtime
    script = directory / "crun"
    script.write_text(
        f'#!/bin/sh\nexec unshare -m sh -c \'umount /sys/fs/cgroup/unified; exec {runtime} "$@"\' sh "$@"\n'
    )
    script.chmod(0o755)
    return str(script)
