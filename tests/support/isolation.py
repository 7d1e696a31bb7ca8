"""A network and mount namespace of our own for the tests that make links, mounts and cgroups: nothing they do can
reach the machine they run on. Called once, before any thread is started.
"""

import contextlib
import os
import subprocess
from pathlib import Path

from crishim.engine.sandbox import bring_loopback_up
from crishim.linux import cgroups, libc, mounts, namespaces

_MARK = "CRISHIM_TEST_NETNS"  # the namespace is ours already: told to child processes


def isolate() -> None:
    """Leave the host's network and mount namespaces; nothing happens the second time."""
    if os.environ.get(_MARK) == _here():
        return
    libc.unshare(namespaces.CLONE_NEWNET | namespaces.CLONE_NEWNS)
    libc.mount("", "/", "", mounts.MS_REC | mounts.MS_PRIVATE, "")
    libc.mount("", "/", "", mounts.MS_REC | mounts.MS_SHARED, "")  # a peer group of our own, for propagation tests
    _mount_sysfs()
    bring_loopback_up()
    Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("0")
    _mount_leftover_controllers()
    os.environ[_MARK] = _here()


def _here() -> str:
    """The namespace, and which of pytest-xdist's workers we are: one has others than the pytest that started it."""
    return os.environ.get("PYTEST_XDIST_WORKER", "") + os.readlink("/proc/self/ns/net")


def forget() -> None:
    """Let isolate() make namespaces once more: for a process that is to have others than its parent."""
    os.environ.pop(_MARK, None)


def _mount_sysfs() -> None:
    """A sysfs shows the links of the namespace it was mounted in: the host's would be counted, and ours never.

    What is mounted below it (cgroups) is kept.
    """
    below = dict.fromkeys(p.target for p in mounts.table() if p.target.startswith("/sys/"))
    trees = [(target, mounts.clone_tree(target)) for target in below]
    mounts.mount("sysfs", "sysfs", "/sys")
    for target, tree in trees:
        mounts.attach_tree(tree, target)
        os.close(tree)


def leftover_controllers() -> list[str]:
    """Controllers of a v1 hybrid host that are mounted nowhere here: crun and runc want none of them left in v2."""
    found = cgroups.hierarchies()
    if cgroups.version() == 2 or "unified" not in found:
        return []
    left = (found["unified"] / "cgroup.controllers").read_text().split()
    rows = [line.split() for line in Path("/proc/cgroups").read_text().splitlines() if not line.startswith("#")]
    # A v1 hierarchy lives on without a mount while it holds a group: another run's, or one that was killed.
    known = {name for directory in found for name in directory.split(",")}
    return left + [name for name, hierarchy, _, on in rows if on == "1" and hierarchy != "0" and name not in known]


def _mount_leftover_controllers() -> None:
    """Mount them, here only: on a directory of our own in place of the host's.

    A mount point made in the host's would be there for everybody, and who removes it takes the mount away from all.
    """
    left = leftover_controllers()
    if not left:
        return
    links = {p.name: p.readlink() for p in cgroups.ROOT.iterdir() if p.is_symlink()}
    trees = {path.name: mounts.clone_tree(path) for path in cgroups.hierarchies().values()}
    mounts.mount("tmpfs", "cgroup", cgroups.ROOT, data="mode=755")
    for name, tree in trees.items():
        (cgroups.ROOT / name).mkdir()
        mounts.attach_tree(tree, cgroups.ROOT / name)
        os.close(tree)
    for name, target in links.items():
        (cgroups.ROOT / name).symlink_to(target)
    for controller in left:
        (cgroups.ROOT / controller).mkdir()
        mounts.mount("cgroup", "cgroup", cgroups.ROOT / controller, data=controller)


def ip(*arguments: str, netns: str = "") -> str:
    """Run ip(8) here, or in the namespace of a handle."""
    inside = ["nsenter", f"--net={netns}"] if netns else []
    done = subprocess.run([*inside, "ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def remove_link(name: str) -> None:
    with contextlib.suppress(AssertionError):
        ip("link", "del", name)
