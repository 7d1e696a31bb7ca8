"""crishim/linux/terminals.py"""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from crishim.linux import terminals


def test_sizes() -> None:
    """Width and height arrive as columns and lines."""
    master, slave = os.openpty()
    terminals.resize(master, 101, 31)
    assert tuple(os.get_terminal_size(slave)) == (101, 31)
    os.close(master)
    os.close(slave)


def test_a_raw_pair_changes_nothing() -> None:
    """Every byte passes in both directions as it is: no echo, no line ends, no signals."""
    master, slave = terminals.open_raw_pair()
    os.write(master, b"a\r\n\x03")
    assert os.read(slave, 100) == b"a\r\n\x03"
    os.write(slave, b"b\n")
    assert os.read(master, 100) == b"b\n"
    os.close(master)
    os.close(slave)


async def test_a_console_is_received(tmp_path: Path) -> None:
    """The descriptor that a runtime sends is ours; the socket is gone afterwards."""
    console = terminals.ConsoleSocket(tmp_path / "console")
    receiving = asyncio.create_task(console.receive())
    await asyncio.sleep(0)
    master, slave = os.openpty()
    with socket.socket(socket.AF_UNIX) as runtime:
        runtime.connect(str(console.path))
        await asyncio.sleep(0.02)  # connected, and nothing sent yet
        socket.send_fds(runtime, [b"/dev/pts/0"], [master])
    received = await receiving
    os.write(slave, b"x")
    assert os.read(received, 10) == b"x"
    for fd in (master, slave, received):
        os.close(fd)
    console.close()
    assert list(tmp_path.iterdir()) == []


async def test_a_runtime_that_sends_nothing(tmp_path: Path) -> None:
    """A connection that closes without a descriptor is an error, not a hang."""
    console = terminals.ConsoleSocket(tmp_path / "console")
    with socket.socket(socket.AF_UNIX) as runtime:
        runtime.connect(str(console.path))
    with pytest.raises(OSError):
        await console.receive()
    console.close()
