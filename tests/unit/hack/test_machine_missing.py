"""hack/vm on a host that cannot have the machine: one line that says why, and status 3."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from hack.machine import __main__ as vm
from hack.machine import guest, image, needs, qemu

Patch = pytest.MonkeyPatch


def program(directory: Path, name: str, text: str) -> str:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: Patch) -> Path:
    """Root, a key, no machine, and a PATH with what the test puts there; its directory."""
    (tmp_path / "vm").mkdir()
    for name in ("key", "key.pub"):
        (tmp_path / "vm" / name).write_text("key")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("CRISHIM_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(qemu, "STATE", tmp_path / "state")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def no_root(host: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def no_mmdebstrap(host: Path, monkeypatch: Patch) -> None:
    program(host / "bin", "apt-get", "echo 'E: Unable to locate package mmdebstrap' >&2; exit 100")


def no_mirror(host: Path, monkeypatch: Patch) -> None:
    program(host / "bin", "unshare", 'shift 3; exec "$@"')
    program(host / "bin", "mmdebstrap", "echo I: working >&2; echo 'E: deb.debian.org cannot be reached' >&2; exit 1")


def no_wheels(host: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(image, "qemu_tree", lambda cache: host / "qemu")
    python = program(host / "bin", "python", "echo 'ERROR: No matching distribution found for grpcio' >&2; exit 1")
    monkeypatch.setattr(sys, "executable", python)


def no_space(host: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(image, "qemu_tree", lambda cache: host / "qemu")
    monkeypatch.setattr(image, "wheels", lambda cache, tree: host / "wheels")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=image.SPACE - 1))


@pytest.mark.parametrize(
    ("lack", "why"),
    [
        (no_root, "not root, who makes the image and chroots to QEMU"),
        (no_mmdebstrap, "mmdebstrap cannot be installed: apt-get failed: E: Unable to locate package mmdebstrap"),
        (no_mirror, "mmdebstrap failed: E: deb.debian.org cannot be reached"),
        (no_wheels, "pip failed: ERROR: No matching distribution found for grpcio"),
        (no_space, "less than 8 GB free in {host}/vm"),
    ],
)
def test_what_is_missing(
    host: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str], lack: Callable[[Path, Patch], None], why: str
) -> None:
    """The last line is the reason; nothing half made is left that a later run would take for whole."""
    lack(host, monkeypatch)
    assert vm.command(["up"]) == 3
    printed = capsys.readouterr().err
    assert printed.splitlines()[-1] == f"hack/vm: {why.format(host=host)}"
    assert "Traceback" not in printed
    assert not [path for path in (host / "vm").iterdir() if path.name.startswith(("guest-", "wheels-", "qemu-"))
                and path.suffix != ".new"]  # fmt: skip


def test_no_machine_is_up(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """run, ssh and console want one; down does not."""
    for words in (["run", "true"], ["ssh"], ["console"]):
        assert vm.command(words) == 3
        assert capsys.readouterr().err == "hack/vm: no machine is up: hack/vm up\n"
    assert vm.command(["down"]) == 0


def test_qemu_that_does_not_start(host: Path) -> None:
    """Its own words."""
    program(host / "bin", "nice", 'shift 2; exec "$@"')
    program(host / "bin", "unshare", "echo 'qemu: igb is no device' >&2; exit 1")
    with pytest.raises(needs.Missing, match=r"^QEMU does not start: qemu: igb is no device$"):
        qemu.start(host / "qemu", host, host, host, "tcg")


def ourselves(host: Path) -> qemu.Machine:
    """A machine that is this process, with a console."""
    qemu.STATE.mkdir(exist_ok=True)
    (qemu.STATE / "console.log").write_text("first\r\n\x1b[0;32m  OK  \x1b[0m Started x\nwaiting for /dev/vda\n")
    return qemu.Machine(os.getpid(), qemu._started(os.getpid()), 1, "tcg", "/")


def test_a_guest_that_hangs(host: Path, monkeypatch: Patch) -> None:
    """A console that is silent for long: what it said last, without its colours."""
    monkeypatch.setattr(guest, "_answers", lambda machine, key: False)
    monkeypatch.setattr(guest, "SILENCE", -1)
    with pytest.raises(guest.HungError, match=r"OK {3}Started x \| waiting for /dev/vda$"):
        guest.wait(ourselves(host), host / "key")


@pytest.mark.parametrize("hangs", [0, 1, 2])
def test_a_boot_that_hangs_is_tried_once_more(host: Path, monkeypatch: Patch, hangs: int) -> None:
    """Once; then it is what is missing, with the console's words. Whatever was started is stopped."""
    running: list[qemu.Machine] = []
    tries: list[int] = []

    def start() -> qemu.Machine:
        running.append(ourselves(host))
        return running[-1]

    def wait(machine: qemu.Machine, key: Path) -> float:
        tries.append(1)
        if len(tries) <= hangs:
            raise guest.HungError("no answer after 9 s; its last lines: x")
        return 1

    monkeypatch.setattr(guest, "wait", wait)
    monkeypatch.setattr(qemu, "stop", running.remove)
    if hangs == 2:
        with pytest.raises(needs.Missing, match=r"^the guest hangs: no answer after 9 s; its last lines: x$"):
            vm.boot(start, host / "key", "tcg")
    else:
        vm.boot(start, host / "key", "tcg")
    assert (len(tries), len(running)) == (min(hangs + 1, 2), int(hangs < 2))
