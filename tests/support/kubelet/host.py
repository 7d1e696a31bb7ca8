"""Where a test node runs: a network and mount namespace in which nothing it does reaches the machine.

The kubelet writes to fixed places besides those it is told (/var/log/containers, /var/lib/kubelet) and sets six sysctls
of the whole machine at its start (pkg/kubelet/cm, setupKernelTunables). Here /var is an overlay, and for the kubelet
files with the values it wants lie over those sysctls: it reads them and changes nothing.
"""

import os
from pathlib import Path

from crishim.linux import cgroups, libc, mounts
from tests.support.isolation import ip, isolate

ADDRESS = "10.230.0.2"
GATEWAY = "10.230.0.1"
_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def isolate_node() -> None:
    """Leave the host's namespaces; make an address with a default route, which the kubelet looks for."""
    isolate()
    if "node0:" in ip("-o", "link"):
        return
    for arguments in (
        "link add node0p type veth peer name node0",
        f"addr add {ADDRESS}/24 dev node0",
        "addr add fd30::2/64 dev node0 nodad",
        "link set node0 up",
        "link set node0p up",
        f"route add default via {GATEWAY}",
    ):
        ip(*arguments.split())


def lay_over(directory: Path) -> None:
    """Mount an overlay on /var, and write the files that hide_sysctls() lays over sysctls."""
    upper, work = directory / "var", directory / "var.work"
    for path in (upper, work, directory / "sysctl"):
        path.mkdir()
    mounts.mount("overlay", "var", "/var", data=f"lowerdir=/var,upperdir={upper},workdir={work}")
    for name, value in _SYSCTLS.items():
        (directory / "sysctl" / name.replace("/", ".")).write_text(value + "\n")


def take_up() -> None:
    """Undo lay_over."""
    mounts.unmount("/var")


def hide_sysctls(directory: Path) -> list[str]:
    """The command that runs another one with those files in the place of the sysctls.

    In a mount namespace of its own that shares all else: with a mount on it, /proc would not be wholly visible to the
    daemon, and the kernel would refuse a new one to every container with a user namespace (mount_too_revealing).
    """
    over = [f"mount --bind {directory}/sysctl/{name.replace('/', '.')} /proc/sys/{name}" for name in _SYSCTLS]
    script = "set -e; mount --make-rprivate /proc; " + "; ".join(over) + '; exec "$@"'
    return ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", script, "sh"]


def make_cgroup(path: str) -> None:
    """The cgroup the kubelet takes as its root: in every hierarchy, on v1 with a cpuset that is not empty."""
    for top in cgroups.hierarchies().values():
        directory = top / path.lstrip("/")
        directory.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (directory / name).exists() and not (directory / name).read_text().strip():
                (directory / name).write_text((top / name).read_text())


def enter(pid: int) -> None:
    """Move this process, which has one thread, into the namespaces of a running node."""
    here = Path.cwd()
    for kind in ("net", "mnt"):
        handle = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            libc.setns(handle, 0)
        finally:
            os.close(handle)
    os.chdir(here)  # which entering a mount namespace leaves
    os.environ["CRISHIM_TEST_NETNS"] = str(Path("/proc/self/ns/net").readlink())
