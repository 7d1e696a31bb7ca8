"""A network and mount namespace of our own for the tests that make links, mounts and cgroups: nothing they do can
reach the machine they run on. Called once, before any thread is started.
"""

import contextlib
import os
import subprocess
from pathlib import Path

from crishim.engine.sandbox import bring_loopback_up
from crishim.wire.linux import cgroups, libc, mounts, namespaces

_MARK = "CRISHIM_TEST_NETNS"  # the namespace is ours already: told to child processes


def isolate() -> None:
    """Leave the host's network and mount namespaces; nothing happens the second time."""
    if os.environ.get(_MARK) == os.readlink("/proc/self/ns/net"):
        return
    libc.unshare(namespaces.CLONE_NEWNET | namespaces.CLONE_NEWNS)
    libc.mount("", "/", "", mounts.MS_REC | mounts.MS_PRIVATE, "")
    libc.mount("", "/", "", mounts.MS_REC | mounts.MS_SHARED, "")  # a peer group of our own, for propagation tests
    bring_loopback_up()
    Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("0")
    _mount_leftover_controllers()
    os.environ[_MARK] = os.readlink("/proc/self/ns/net")


def _mount_leftover_controllers() -> None:
    """crun refuses a v1 hybrid while a controller is left in v2 (`crishim doctor` says so): mount it, here only."""
    found = cgroups.hierarchies()
    if cgroups.version() == 2 or "unified" not in found:
        return
    left = (found["unified"] / "cgroup.controllers").read_text().split()
    rows = [line.split() for line in Path("/proc/cgroups").read_text().splitlines() if not line.startswith("#")]
    # A v1 hierarchy lives on without a mount while it holds a group: another run's, or one that was killed.
    known = {name for directory in found for name in directory.split(",")}
    left += [name for name, hierarchy, _, on in rows if on == "1" and hierarchy != "0" and name not in known]
    for controller in left:
        directory = cgroups.ROOT / controller
        directory.mkdir(exist_ok=True)
        mounts.mount("cgroup", "cgroup", directory, data=controller)


def ip(*arguments: str, netns: str = "") -> str:
    """Run ip(8) here, or in the namespace of a handle."""
    inside = ["nsenter", f"--net={netns}"] if netns else []
    done = subprocess.run([*inside, "ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def remove_link(name: str) -> None:
    with contextlib.suppress(AssertionError):
        ip("link", "del", name)
