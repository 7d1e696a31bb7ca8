"""Environments of programs."""

import pytest

from crishim.linux import environment, programs


def test_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """PATH and what is given; sbin is in it, whatever the daemon has."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy")
    monkeypatch.setenv("PATH", "/mine")
    assert set(environment.minimal()) == {"PATH"}
    assert environment.minimal()["PATH"].split(":")[0] == "/mine"
    assert "/usr/sbin" in environment.minimal()["PATH"].split(":")
    assert environment.minimal(A="1")["A"] == "1"
    monkeypatch.delenv("PATH")
    assert "" not in environment.minimal()["PATH"].split(":")


def test_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies are kept, the service manager's sockets are not."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    found = environment.inherited(TMPDIR="/x")
    assert found["HTTPS_PROXY"] == "http://user:secret@proxy"
    assert found["TMPDIR"] == "/x"
    assert "NOTIFY_SOCKET" not in found


async def test_a_program_gets_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """run() without env makes one; with env it is that and no more."""
    monkeypatch.setenv("SECRET", "1")
    bare = (await programs.run(["env"], timeout=10)).stdout.decode().splitlines()
    assert [line.partition("=")[0] for line in bare] == ["PATH"]
    given = (await programs.run(["/usr/bin/env"], timeout=10, env={"A": "1"})).stdout
    assert given == b"A=1\n"
