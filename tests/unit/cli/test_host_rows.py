"""More of the doctor's rows."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from crishim import fitness
from crishim.cli import host_rows
from crishim.cli.host_rows import FAIL, OK, WARN
from crishim.config import Config, parse
from crishim.linux import apparmor as profiles


@pytest.mark.parametrize(("release", "status"), [("5.10.0-30-amd64", FAIL), ("5.12.1", OK), ("6.1.0-9", OK)])
async def test_kernel(monkeypatch: pytest.MonkeyPatch, release: str, status: str) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release=release))
    (row,) = await host_rows.kernel(Config())
    assert (row.status, release in row.found, bool(row.fix)) == (status, True, status == FAIL)


async def test_systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No systemd is fine unless it is wanted; one without a bus can make no cgroups."""
    wanted = parse("[runtimes]\ncgroup_driver = 'systemd'\n")
    monkeypatch.setattr(fitness, "SYSTEMD", tmp_path / "none")
    monkeypatch.setattr(host_rows, "_SYSTEMD_BUS", (tmp_path / "bus",))
    assert [(await host_rows.systemd(c))[0].status for c in (Config(), wanted)] == [OK, FAIL]
    monkeypatch.setattr(fitness, "SYSTEMD", tmp_path)
    assert [(await host_rows.systemd(c))[0].status for c in (Config(), wanted)] == [WARN, FAIL]


async def test_criu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that knows this kernel, one that does not, none: pods run without."""
    criu = tmp_path / "criu"
    monkeypatch.setattr(host_rows, "find_program", lambda name: str(criu))
    for text, status, said in (
        ("echo Version: 3.19", OK, "Version: 3.19"),
        ("[ $1 = --version ] || { echo no vdso >&2; exit 1; }", WARN, "no vdso"),
    ):
        criu.write_text(f"#!/bin/sh\n{text}\n")
        criu.chmod(0o755)
        (row,) = await host_rows.criu(Config())
        assert (row.status, said in row.found) == (status, True), row
    monkeypatch.setattr(host_rows, "find_program", lambda name: None)
    assert (await host_rows.criu(Config()))[0].status == WARN


async def test_apparmor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None in the kernel is fine; without a parser containers run unconfined; another's profile must be loaded."""
    own, none, mine = Config(), *(parse(f"[runtimes]\napparmor_profile = '{name}'\n") for name in ("", "mine"))
    monkeypatch.setattr(profiles, "enabled", lambda: False)
    assert [(await host_rows.apparmor(c))[0].status for c in (own, none, mine)] == [OK] * 3
    monkeypatch.setattr(profiles, "enabled", lambda: True)
    monkeypatch.setattr(profiles, "LOADED", tmp_path / "profiles")
    profiles.LOADED.write_text("other (enforce)\n")
    for parser, statuses in (("/sbin/apparmor_parser", [OK, OK, FAIL]), (None, [WARN, OK, FAIL])):
        monkeypatch.setattr(host_rows, "find_program", lambda name, found=parser: found)
        assert [(await host_rows.apparmor(c))[0].status for c in (own, none, mine)] == statuses
    profiles.LOADED.write_text("mine (complain)\n")
    assert (await host_rows.apparmor(mine))[0].status == OK


async def test_signature_policy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without one no image is pulled; one of the settings goes first, one that is broken is named."""
    there, own = tmp_path / "policy.json", tmp_path / "own.json"
    monkeypatch.setattr(host_rows, "_POLICIES", (str(there),))
    (row,) = await host_rows.signature_policy(Config())
    assert (row.status, str(there) in row.found) == (FAIL, True)
    there.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    assert (await host_rows.signature_policy(Config()))[0].found == f"{there}: by default insecureAcceptAnything"
    own.write_text("{}")
    (row,) = await host_rows.signature_policy(parse(f"[images]\npolicy = '{own}'"))
    assert (row.status, str(own) in row.found) == (FAIL, True)


async def test_directories(tmp_path: Path) -> None:
    """Size and mode of those that are there, of the others that they will be made."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o777)
    config = parse(f"state_dir = '{tmp_path}/a/state'\nrun_dir = '{tmp_path}/run'")
    state, run = await host_rows.directories(config)
    assert state.found.endswith("free, will be made by the daemon")
    assert (run.status, "has mode 0777" in run.found) == (WARN, True)
