"""crishim cleanup: it finds everything that nobody has a record of, gives back what is others', and leaves the rest."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crishim.linux import cgroups, namespaces, record_files
from crishim.pb import cri_pb2 as cri
from tests.node.damaged_records import DAMAGE, no_record_remains, record
from tests.node.process_facts import info, is_gone
from tests.node.test_recovery import reboot
from tests.support.daemon import Daemon, assert_clean, eventually, scratch_daemon
from tests.support.isolation import ip, remove_link
from tests.support.pods import annotated, container_config, pod_config, remove_pod, run_pod, start, status

pytestmark = pytest.mark.node
KINDS = {"process", "OCI container", "lease", "mount", "cgroup", "directory"}


@pytest.fixture
def bait() -> Iterator[str]:
    """A device with an address, and the check that it is on the host as it was."""
    ip("link", "add", "baitc0", "type", "veth", "peer", "name", "baitc1")
    ip("address", "add", "192.0.2.11/24", "dev", "baitc0")
    before = ip("-d", "-br", "address", "show", "baitc0")
    yield "baitc0"
    try:
        assert ip("-d", "-br", "address", "show", "baitc0") == before
        assert "crishim-" not in ip("link", "show", "baitc0")
    finally:
        remove_link("baitc0")


def furnished(daemon: Daemon, device: str = "", **settings: Any) -> tuple[str, str]:
    """A pod with an init of its own, a host port and a device, and a container in it that runs."""
    mappings = [cri.PortMapping(host_port=8096, container_port=80)]
    annotations = annotated(**{device: "net1"}) if device else {}
    wish = pod_config(annotations=annotations, port_mappings=mappings, **settings)
    wish.linux.security_context.namespace_options.pid = cri.POD
    pod = run_pod(daemon, wish)
    container = start(daemon, pod)
    command = Path(f"/proc/{info(daemon, container)['pid']}/cmdline")
    eventually(lambda: os.fsencode(daemon.run) not in command.read_bytes(), "the runtime's init is the container's")
    return pod, container


def cleanup(daemon: Daemon, *flags: str, status: int = 0) -> list[str]:
    done = daemon.command("cleanup", *flags)
    assert done.returncode == status, done.stderr + done.stdout
    return done.stdout.splitlines()


def kinds(lines: list[str], verb: str) -> set[str]:
    return {line[8:22].strip() for line in lines if line.startswith(verb)}


def forget(daemon: Daemon, pod: str, container: str, *, copies: bool) -> None:
    """Take the records away, and the copies of all but the device's."""
    for path in (record(daemon, "pods", pod), record(daemon, "containers", container)):
        path.unlink()
    for path in (daemon.state / "netdev").iterdir():
        path.unlink()
    if copies:
        (daemon.run / "pods" / pod / record_files.COPY).unlink()
        (daemon.run / "containers" / container / record_files.COPY).unlink()


def test_orphans_of_all_kinds(daemon: Daemon, bait: str) -> None:
    """Said first, and nothing changed; then all of it goes, the device comes home, and what has a record stays."""
    kept = run_pod(daemon)
    running = start(daemon, kept)
    before = daemon.left()
    pod, container = furnished(daemon, bait)
    pid = info(daemon, container)["pid"]
    daemon.kill()
    forget(daemon, pod, container, copies=True)
    (daemon.run / "exec" / "x1").mkdir()
    (daemon.state / "pods" / f"{'e' * 64}.tmp").write_text("{")
    there = daemon.left()
    said = cleanup(daemon)
    assert kinds(said, "remove") == KINDS | {"scratch"}
    assert said[-1] == "nothing was changed: crishim cleanup --apply does it"
    assert not any(id in line for id in (kept, running) for line in said)
    assert daemon.left() == there
    assert not is_gone(pid)
    said = cleanup(daemon, "--apply")
    assert not kinds(said, "left")
    assert is_gone(pid)
    assert_clean(daemon, before)
    assert cleanup(daemon) == []
    daemon.start()
    assert status(daemon, running).state == cri.CONTAINER_RUNNING
    assert "192.0.2.11" in ip("address", "show", bait)
    remove_pod(daemon, kept)


def test_what_is_unknown(daemon: Daemon, bait: str) -> None:
    """A newer version's pod that runs is only named; with --unknown it goes, and all that it had is given back."""
    before = daemon.left()
    pod, container = furnished(daemon, bait)
    pid = info(daemon, container)["pid"]
    daemon.kill()
    paths = [record(daemon, "pods", pod), record(daemon, "containers", container), *(daemon.state / "netdev").iterdir()]
    for path, damage in zip(paths, ("newer", "truncated", "newer"), strict=True):
        DAMAGE[damage](path)
    there = daemon.left()
    said = cleanup(daemon, "--apply")
    assert (kinds(said, "keep"), kinds(said, "remove")) == (KINDS, set())
    assert any("(its record has schema 2, this version reads up to 1; --unknown removes it)" in line for line in said)
    assert daemon.left() == there
    assert not is_gone(pid)
    assert kinds(cleanup(daemon, "--unknown"), "remove") == KINDS
    assert not is_gone(pid)
    cleanup(daemon, "--apply", "--unknown")
    assert is_gone(pid)
    no_record_remains(daemon)
    assert_clean(daemon, before)
    daemon.start()


def test_after_a_reboot(daemon: Daemon) -> None:
    """Of a pod whose record a power cut left empty there is an address: freed with --unknown."""
    pod = run_pod(daemon)
    daemon.kill()
    reboot(daemon)
    record(daemon, "pods", pod).write_bytes(b"")
    assert kinds(cleanup(daemon), "keep") == {"lease"}
    cleanup(daemon, "--apply", "--unknown")
    assert not list((daemon.directory / "ipam/test").glob("10.*"))
    no_record_remains(daemon)
    daemon.start()


def test_what_no_runtime_knows(daemon: Daemon) -> None:
    """A cgroup with a process, a mount, a directory and the state of a runtime that left: each goes by itself."""
    before = daemon.left()
    daemon.stop()
    id = "f" * 64
    group = f"{daemon.cgroup}/{id}"
    top = next(iter(cgroups.hierarchies().values()))
    (top / group.lstrip("/")).mkdir(parents=True)
    lost = subprocess.Popen(["sleep", "600"])
    (top / group.lstrip("/") / "cgroup.procs").write_text(str(lost.pid))
    (daemon.run / "runtime/kata" / id).mkdir(parents=True)
    (daemon.run / "roots" / id / "rootfs").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", daemon.run / "roots" / id / "rootfs"], check=True)
    ip("link", "add", "baitm0", "type", "ifb")
    ip("link", "property", "add", "dev", "baitm0", "altname", "crishim-0123456789abcdef")
    try:
        assert kinds(cleanup(daemon), "remove") == {"cgroup", "OCI container", "mount", "directory", "device mark"}
        cleanup(daemon, "--apply")
        assert lost.wait(5) == -9
        assert "crishim-" not in ip("link", "show", "baitm0")
        assert cleanup(daemon) == []
    finally:
        remove_link("baitm0")
        lost.kill()
    (daemon.run / "runtime/kata").rmdir()
    assert_clean(daemon, before)
    daemon.start()


def test_a_lease_of_which_nothing_else_is_left(daemon: Daemon, tmp_path: Path) -> None:
    """It is freed if it is old and no namespace has its address; what may be another runtime's pod keeps its own."""
    pod = run_pod(daemon)
    remove_pod(daemon, pod)  # the network's directory is there
    daemon.stop()
    directory = daemon.directory / "ipam/test"
    names = {"forsaken": "10.231.9.1", "used": "10.231.9.2", "young": "10.231.9.3", "no pod": "10.231.9.4"}
    for number, (what, address) in enumerate(names.items()):
        holder = "by hand" if what == "no pod" else f"{number}" * 64
        (directory / address).write_text(f"{holder}\r\neth0")
        if what != "young":
            os.utime(directory / address, (1, 1))
    netns = tmp_path / "other.net"

    def use_an_address() -> None:
        ip("addr", "add", f"{names['used']}/32", "dev", "lo")

    namespaces.make({"net": netns}, use_an_address)
    try:
        said = cleanup(daemon)
        assert [line.split()[-1] for line in said if line.startswith("remove")] == [str(directory / names["forsaken"])]
        cleanup(daemon, "--apply")
        assert {p.name for p in directory.glob("10.231.9.*")} == set(names.values()) - {names["forsaken"]}
    finally:
        namespaces.unpin(netns)
        for address in names.values():
            (directory / address).unlink(missing_ok=True)
    daemon.start()


def test_beside_a_daemon(daemon: Daemon) -> None:
    """It looks, with a word of warning, and does not act."""
    pod = run_pod(daemon)
    done = daemon.command("cleanup", "--all")
    assert done.returncode == 0
    assert done.stderr == "crishim: a daemon is running: what it is just making may be in this list\n"
    assert pod in done.stdout
    done = daemon.command("cleanup", "--apply", "--all")
    assert done.returncode == 2
    assert daemon.process is not None
    assert done.stderr == (
        f"crishim: another crishim daemon works in {daemon.state} (pid {daemon.process.pid}): "
        "it takes away orphans when it starts; stop it for the rest\n"
    )
    remove_pod(daemon, pod)


def test_uninstalling(busybox_archive: Path, bait: str) -> None:
    """--all: whatever runs, with a record or without, and then the directories; of the node nothing is left."""
    with scratch_daemon() as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        pod, container = furnished(daemon, bait)
        unknown = run_pod(daemon)
        lost = start(daemon, unknown, container_config("lost"))
        pids = [info(daemon, id)["pid"] for id in (container, lost)]
        daemon.kill()
        DAMAGE["newer"](record(daemon, "pods", unknown))
        record(daemon, "containers", lost).unlink()
        (daemon.state / "pods" / "junk").mkdir()
        own, disk = daemon.directory / "own", daemon.state / "disk"
        own.mkdir()
        (own / "precious").touch()
        disk.mkdir()
        subprocess.run(["mount", "--bind", own, disk], check=True)
        before = daemon.left()
        assert kinds(cleanup(daemon, "--all"), "remove") >= KINDS
        assert daemon.left() == before
        assert not kinds(cleanup(daemon, "--all", "--apply", status=1), "left")
        assert all(is_gone(pid) for pid in pids)
        assert (disk / "precious").exists()
        subprocess.run(["umount", disk], check=True)
        cleanup(daemon, "--all", "--apply")
        assert (own / "precious").exists()
        assert not daemon.state.exists()
        assert not daemon.run.exists()
        assert not daemon.socket.exists()
        assert not list((daemon.directory / "ipam/test").glob("[0-9f]*"))
        eventually(lambda: not cgroups.directories(daemon.cgroup), "the cgroups are gone")
        left = daemon.left()
        assert not any(left[kind] for kind in ("mounts", "cgroups", "processes", "rules")), left
        assert cleanup(daemon) == []
        assert pod
