"""Where the page may be served, and what is left of it."""

import asyncio
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from crishim.__main__ import main
from crishim.cli.page.command import parse_address
from tests.support.settings_toml import to_toml

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("127.0.0.9:0", ("127.0.0.9", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("localhost:1", ("127.0.0.1", 1)),
        (":9798", ("127.0.0.1", 9798)),
        ("9798", ("127.0.0.1", 9798)),
    ],
)
def test_addresses_of_loopback(given: str, found: tuple[str, int]) -> None:
    assert parse_address(given) == found


@pytest.mark.parametrize(
    "given",
    ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "node:80", "127.0.0.1:", "127.0.0.1:65536", "", "127.0.0.1:-1", ":²"],
)
def test_all_others_are_refused(given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one sentence, before anything is opened."""
    (tmp_path / "config.toml").write_text(to_toml({"socket": str(tmp_path / "none")}))
    assert main(["--config", str(tmp_path / "config.toml"), "page", "--listen", given]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"crishim: --listen {given}".rstrip())
    assert said.count("\n") == 1


async def test_a_unix_socket(tmp_path: Path) -> None:
    """For root's group alone, in a directory of root's; no secret; gone at the end. There need be no daemon."""
    (tmp_path / "config.toml").write_text(to_toml({"socket": str(tmp_path / "none")}))
    path = tmp_path / "run" / "page.sock"
    command = [sys.executable, "-m", "crishim", "--config", str(tmp_path / "config.toml"), "page", "--unix", str(path)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert (await process.stdout.readline()).decode() == f"unix:{path}\n"
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = (await reader.read()).decode()
            writer.close()
            assert answer.startswith("HTTP/1.1 200 OK")
            assert "The daemon does not answer" in answer
            second = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE, cwd=ROOT)
            assert (await second.communicate())[1].decode().endswith("another page listens there\n")
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
            assert (await process.communicate())[1] == b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert not path.exists()


def test_an_address_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.toml").write_text(to_toml({"socket": str(tmp_path / "none")}))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["--config", str(tmp_path / "config.toml"), "page", "--listen", where]) == 1
    assert capsys.readouterr().err == f"crishim: cannot listen at {where}: Address already in use\n"
