"""Whether pods can run here at all."""

import asyncio
from pathlib import Path

import pytest

from crishim import fitness
from crishim.config import Config, parse
from crishim.fitness import Fitness


def of_conmon(program: str) -> Config:
    return parse(f"[runtimes]\nconmon = '{program}'\n")


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("mask", "missing"),
    [
        ("000001ffffffffff", []),
        ("0000000000000000", ["CAP_NET_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_ADMIN", "CAP_MKNOD"]),
        (f"{0xFFFFFFFF & ~(1 << 21):016x}", ["CAP_SYS_ADMIN"]),
    ],
)
def test_capabilities(mask: str, missing: list[str]) -> None:
    """Each that is missing is named."""
    assert fitness.missing_capabilities(f"Name:\tx\nCapInh:\t0\nCapPrm:\t{mask}\nCapEff:\t{mask}\n") == missing


async def test_conmon(tmp_path: Path) -> None:
    """Only what says that it is conmon is one."""
    assert await fitness.conmon(of_conmon(script(tmp_path / "good", "echo conmon version 2.1.6"))) == ""
    assert "/bin/true is no conmon" in await fitness.conmon(of_conmon("/bin/true"))
    assert "no program /no/conmon" in await fitness.conmon(of_conmon("/no/conmon"))
    assert "broken" in await fitness.conmon(of_conmon(script(tmp_path / "bad", "echo broken >&2; exit 3")))


async def test_systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The systemd driver needs systemd; the other does not."""
    monkeypatch.setattr(fitness, "SYSTEMD", tmp_path / "none")
    wanted = parse("[runtimes]\ncgroup_driver = 'systemd'\n")
    assert "systemd is not the init" in await fitness.systemd(wanted)
    assert await fitness.systemd(Config()) == ""
    monkeypatch.setattr(fitness, "SYSTEMD", tmp_path)
    assert await fitness.systemd(wanted) == ""


async def test_it_is_looked_at_once_while_all_is_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However often it is asked for; an unfit host is looked at again, and its reason goes when the cause has gone."""
    runs = tmp_path / "runs"
    program = script(tmp_path / "conmon", f"echo >> {runs}; echo nonsense")
    monkeypatch.setattr(fitness, "CHECKS", (fitness.conmon,))
    monkeypatch.setattr(fitness, "PATIENCE", 20.0)
    monkeypatch.setattr(fitness, "AGAIN", 0.0)
    host = Fitness(of_conmon(program))
    assert "is no conmon" in await host.reason()
    script(tmp_path / "conmon", f"echo >> {runs}; echo conmon version 2")
    async with asyncio.timeout(20):
        while await host.reason():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    before = runs.read_text()
    for _ in range(3):
        assert await host.reason() == ""
    assert runs.read_text() == before
