"""The doctor's checks, on hosts that lack something."""

import os
from pathlib import Path

import pytest

from crishim import fitness
from crishim.cli import doctor
from crishim.cli.host_rows import FAIL, OK, WARN, Row
from crishim.config import Config, parse
from crishim.linux import capabilities, cgroups, mounts
from crishim.linux.mounts import MountPoint


def mount(target: str, fstype: str) -> MountPoint:
    return MountPoint(target, fstype, fstype, frozenset(), ())


V1 = [mount("/sys/fs/cgroup/memory", "cgroup"), mount("/sys/fs/cgroup/cpu", "cgroup")]


@pytest.mark.parametrize(
    ("points", "left", "statuses"),
    [
        ([mount("/sys/fs/cgroup", "cgroup2")], "", [OK]),
        (V1, "", [WARN]),
        ([*V1, mount("/sys/fs/cgroup/unified", "cgroup2")], "", [WARN]),
        ([*V1, mount("/sys/fs/cgroup/unified", "cgroup2")], "hugetlb rdma", [WARN, FAIL]),
        ([mount("/sys/fs/cgroup/unified", "cgroup2")], "", [FAIL]),
        ([], "", [FAIL]),
    ],
)
async def test_cgroups(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, points: list[MountPoint], left: str, statuses: list[str]
) -> None:
    """v2 is fine, v1 works, a hybrid with controllers left in v2 does not work with crun: the fix mounts each."""
    monkeypatch.setattr(mounts, "table", lambda: points)
    monkeypatch.setattr(doctor, "_controllers_left_in_v2", lambda found: left.split())
    rows = await doctor.cgroup(Config())
    assert [row.status for row in rows] == statuses
    assert all(row.fix for row in rows if row.status != OK)
    for controller in left.split():
        assert f"mount -t cgroup -o {controller} cgroup {cgroups.ROOT}/{controller}" in rows[-1].fix


@pytest.mark.parametrize(
    ("uid", "missing", "status", "named"),
    [
        (1000, set(), FAIL, "uid 1000"),
        (0, {"CAP_SYS_ADMIN"}, FAIL, "CAP_SYS_ADMIN"),
        (0, {"CAP_SYS_RESOURCE"}, WARN, "CAP_SYS_RESOURCE"),
        (0, set(), OK, ""),
    ],
)
async def test_root(monkeypatch: pytest.MonkeyPatch, uid: int, missing: set[str], status: str, named: str) -> None:
    """Root with its capabilities; each missing one is named."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    needed = [name for name in sorted(missing) if name in fitness.NEEDED_CAPABILITIES]
    monkeypatch.setattr(fitness, "missing_capabilities", lambda status: needed)
    monkeypatch.setattr(capabilities, "held", lambda: {"CAP_SYS_RESOURCE"} - missing)
    (row,) = await doctor.root(Config())
    assert (row.status, named in row.found) == (status, True)


def script(path: Path, text: str) -> Path:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


async def test_runtimes(tmp_path: Path) -> None:
    """What the runtimes say of themselves; a handler that is not there only warns unless it is the default."""
    mover = script(
        tmp_path / "mover",
        'case $1 in --version) echo mover 1.0;; *) echo \'{"linux": {"netDevices": {"enabled": true}}}\';; esac\n',
    )
    plain = script(tmp_path / "plain", 'test "$1" = --version && echo plain 0.1\n')
    broken = script(tmp_path / "broken", "echo cannot load library >&2; exit 127\n")
    text = f"[runtimes]\ndefault = 'mover'\n[runtimes.handlers.mover]\npath = '{mover}'\n"
    text += f"[runtimes.handlers.plain]\npath = '{plain}'\n[runtimes.handlers.broken]\npath = '{broken}'\n"
    text += "[runtimes.handlers.none]\npath = '/no/such'\n"
    rows = {row.name: row for row in await doctor.runtimes(parse(text))}
    assert rows["runtime mover (default)"].found == f"{mover}: mover 1.0; moves network devices itself"
    assert rows["runtime plain"].found.endswith("plain 0.1; network devices are moved by crishim")
    assert (rows["runtime broken"].status, "cannot load library" in rows["runtime broken"].found) == (FAIL, True)
    assert rows["runtime none"].status == WARN
    text = "[runtimes]\ndefault = 'crun'\n[runtimes.handlers]\ncrun = {path = '/no/such'}\nrunc = {path = ''}\n"
    (row,) = await doctor.runtimes(parse(text))
    assert (row.name, row.status) == ("runtime crun (default)", FAIL)


async def test_network(tmp_path: Path) -> None:
    """No configuration, a missing plugin, and a network that is whole."""
    config = parse(f"[network]\nconfig_dir = '{tmp_path}/net.d'\nplugin_dirs = ['{tmp_path}/bin']\n")
    (row,) = await doctor.network(config)
    assert (row.status, "no CNI configuration" in row.found) == (FAIL, True)
    assert f"{tmp_path}/net.d" in row.fix
    (tmp_path / "net.d").mkdir()
    (tmp_path / "net.d/a.conflist").write_text('{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "own"}]}')
    (row,) = await doctor.network(config)
    assert (row.status, "no CNI plugin own" in row.found) == (FAIL, True)
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin/own", "")
    assert await doctor.network(config) == [Row("CNI", OK, "network n: own")]


async def test_a_check_that_breaks_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are still made."""

    async def broken(config: Config) -> list[Row]:
        raise PermissionError(1, "Operation not permitted", "/proc/x")

    async def fine(config: Config) -> list[Row]:
        return [Row("fine", OK, "")]

    monkeypatch.setattr(doctor, "CHECKS", (broken, fine))
    first, second = await doctor.examine(Config())
    assert (first.name, first.status, "/proc/x" in first.found) == ("broken", FAIL, True)
    assert second.name == "fine"


@pytest.mark.parametrize(("status", "code"), [(OK, 0), (WARN, 0), (FAIL, 1)])
def test_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: str, code: int
) -> None:
    """1 if something fails; a fix is printed below every row but the good ones."""

    async def one(config: Config) -> list[Row]:
        return [Row("thing", status, "as found", "do this")]

    monkeypatch.setattr(doctor, "CHECKS", (one,))
    assert doctor.print_report(Config()) == code
    out = capsys.readouterr().out
    assert f"{status:4}  thing  as found\n" in out
    assert ("fix: do this" in out) == (status != OK)
