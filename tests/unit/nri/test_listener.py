"""crishim/nri/listener.py"""

import asyncio
import socket
import stat
from pathlib import Path

import pytest

from crishim.errors import CrishimError, Kind
from crishim.nri.listener import PluginListener


class Silent(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def test_socket_and_directory_are_roots(tmp_path: Path) -> None:
    path = tmp_path / "nri" / "nri.sock"
    listener = PluginListener(path)
    await listener.open(Silent)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    await listener.close()
    assert not path.exists()
    await listener.close()


async def test_what_a_killed_runtime_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "nri.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    listener = PluginListener(path)
    await listener.open(Silent)
    reader, writer = await asyncio.open_unix_connection(str(path))
    assert await reader.read() == b""
    writer.close()
    await listener.close()


async def test_another_runtimes_socket_is_not_taken(tmp_path: Path) -> None:
    first, second = PluginListener(tmp_path / "nri.sock"), PluginListener(tmp_path / "nri.sock")
    await first.open(Silent)
    with pytest.raises(CrishimError, match="another runtime listens there") as caught:
        await second.open(Silent)
    assert caught.value.kind == Kind.PRECONDITION
    await second.close()
    assert (tmp_path / "nri.sock").exists()
    await first.close()


async def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "nri.sock").write_text("precious")
    with pytest.raises(CrishimError, match="there is a file, and no socket"):
        await PluginListener(tmp_path / "nri.sock").open(Silent)
    assert (tmp_path / "nri.sock").read_text() == "precious"


async def test_a_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 100) / "nri.sock"
    with pytest.raises(CrishimError, match="cannot listen for NRI plugins at"):
        await PluginListener(path).open(Silent)


async def test_what_another_put_in_its_place_stays(tmp_path: Path) -> None:
    path = tmp_path / "nri.sock"
    listener = PluginListener(path)
    await listener.open(Silent)
    path.unlink()
    path.write_text("somebody else's")
    await listener.close()
    assert path.exists()
