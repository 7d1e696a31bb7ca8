"""What programs inherit while devices are moved, whoever moves them: nothing of the daemon but their own pipes.

A namespace's descriptor in a child keeps the namespace, and the device in it, alive (docs/netdevices.md).
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.pb import admin_pb2 as admin
from tests.node.movers import WITH_YOUKI, handlers
from tests.support.daemon import Daemon, scratch_daemon
from tests.support.isolation import ip, remove_link
from tests.support.pods import annotated, execute, pod_config, remove_pod, run_pod, start

pytestmark = pytest.mark.node
HANDLERS = ["crun", "runc", "runc-built-in", WITH_YOUKI]
CNI = Path("/usr/lib/cni")
# Writes down what it is and its descriptors, but for the one the shell reads this from, and becomes the real program.
WRAPPER = """#!/bin/sh
set -- {real} "$@"
for fd in /proc/$$/fd/*; do
    to=$(readlink "$fd") || continue
    test "$to" = "$0" || said="$said ${{fd##*/}}=$(echo "$to" | tr ' ' '_')"
done
echo "{name}$said" >> {record}
exec "$@"
"""


class Recorders:
    """Programs in the place of real ones, and what each call of them inherited."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.record = directory / "record"

    def make(self, name: str, real: str, directory: Path | None = None) -> str:
        path = (directory or self.directory) / name
        path.write_text(WRAPPER.format(real=real, name=name, record=self.record))
        path.chmod(0o755)
        return str(path)

    def inherited(self) -> dict[str, set[str]]:
        """By program: what its descriptors led to, "pipe" and the like for what has a number."""
        found: dict[str, set[str]] = {}
        for line in self.record.read_text().splitlines():
            name, *entries = line.split()
            found.setdefault(name, set()).update(e.partition("=")[2].partition(":[")[0] for e in entries)
        return found


@pytest.fixture(scope="module")
def recorders(tmp_path_factory: pytest.TempPathFactory) -> Recorders:
    directory = tmp_path_factory.mktemp("programs")
    directory.chmod(0o755)
    return Recorders(directory)


@pytest.fixture(scope="module")
def node(recorders: Recorders, busybox_archive: Path) -> Iterator[Daemon]:
    """A daemon with a handler for each mover, whose programs are recorders."""
    found = handlers(recorders.directory)
    for handler in found.values():
        real = Path(handler["path"])
        handler["path"] = recorders.make(f"recorded-{real.name}", str(real))
    conmon = recorders.make("conmon", "/usr/bin/conmon")
    with scratch_daemon(runtimes={"handlers": found, "conmon": conmon}) as daemon:
        for plugin in ("bridge", "portmap"):
            recorders.make(plugin, str(CNI / plugin), daemon.plugins)
        done = daemon.command("images", "import", str(busybox_archive))
        assert done.returncode == 0, done.stderr
        yield daemon


@pytest.fixture
def devices() -> Iterator[None]:
    for name in ("kid0", "kid1"):
        ip("link", "add", name, "type", "veth", "peer", "name", f"{name}p")
        ip("addr", "add", f"192.0.2.{name[-1]}/24", "dev", name)
        ip("link", "set", name, "up")
    yield
    for name in ("kid0", "kid1"):
        remove_link(name)


@contextlib.contextmanager
def moving(daemon: Daemon, pod: str) -> Iterator[None]:
    """kid1 goes into a pod and back all the while: the daemon's threads have namespaces and sockets open."""
    ended = threading.Event()
    moves: list[str] = []

    def move() -> None:
        while not ended.is_set():
            daemon.call("AttachNetDevice", admin.AttachNetDeviceRequest(pod_sandbox_id=pod, device="kid1", name="net9"))
            daemon.call("DetachNetDevice", admin.DetachNetDeviceRequest(pod_sandbox_id=pod, device="kid1"))
            moves.append(pod)

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert moves


def descriptors(pid: int) -> set[tuple[int, int]]:
    """(device, inode) of a process's sockets and namespaces."""
    found = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(fd).startswith(("socket:", "net:", "/proc/")):
                at = fd.stat()
                found.add((at.st_dev, at.st_ino))
    return found


def monitors(daemon: Daemon) -> list[int]:
    """conmon processes of this daemon's containers."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else [b""]
            if words[0].endswith(b"/conmon") and any(str(daemon.run).encode() in word for word in words):
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("handler", HANDLERS)
def test_children_inherit_nothing(daemon: Daemon, devices: None, recorders: Recorders, handler: str) -> None:
    """conmon, the OCI runtime, CNI plugins, and the container: no socket and no namespace of the daemon."""
    recorders.record.unlink(missing_ok=True)
    other = run_pod(daemon, handler=handler)
    with moving(daemon, other):
        pod = run_pod(daemon, pod_config(annotations=annotated(kid0="net1")), handler)
        container = start(daemon, pod)
        assert execute(daemon, container, "ip", "link", "show", "net1")[0] == 0
        code, inside = execute(daemon, container, "ls", "-l", "/proc/1/fd")
        assert daemon.process is not None
        daemons = descriptors(daemon.process.pid)
        (monitor,) = monitors(daemon)
        remains = descriptors(monitor)
        remove_pod(daemon, pod)
    remove_pod(daemon, other)
    assert not remains & daemons
    assert code == 0
    assert "socket:" not in inside
    assert "net:" not in inside
    found = recorders.inherited()
    assert set(found) == {"conmon", f"recorded-{handler.removesuffix('-built-in')}", "bridge", "portmap"}
    strange = {name: rest for name, seen in found.items() if (rest := seen - {"/dev/null", "pipe"})}
    assert not strange, f"inherited: {strange}"
