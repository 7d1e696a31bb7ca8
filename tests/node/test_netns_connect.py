"""crishim/linux/netns_connect.py with real network namespaces."""

import asyncio
import contextlib
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.errors import CrishimError, Kind
from crishim.linux import namespaces
from crishim.linux.byte_sockets import ByteSocket
from crishim.linux.netns_connect import connect_in_netns

pytestmark = pytest.mark.node


@pytest.fixture
def netns() -> Iterator[str]:
    """A network namespace with lo up, held by a sleeping process."""
    holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"],
                              stdout=subprocess.PIPE)  # fmt: skip
    assert holder.stdout
    assert holder.stdout.readline() == b"up\n"
    yield f"/proc/{holder.pid}/ns/net"
    holder.kill()
    holder.communicate()


@contextlib.contextmanager
def listening(netns: str, family: int, address: str) -> Iterator[int]:
    """A server inside that sends one line to each client."""
    server = namespaces.inside({"net": netns}, lambda: socket.socket(family, socket.SOCK_STREAM))
    server.bind((address, 0))
    server.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                connection.sendall(b"from inside\n")
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    thread.join()
    server.close()


async def everything(connection: ByteSocket) -> bytes:
    received = b""
    while not connection.ended:
        await connection.readable()
        received += connection.take(1000)
    connection.close()
    return received


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
async def test_both_families_are_tried(netns: str, family: int, address: str) -> None:
    """A server on either loopback address is found, inside and not on the host."""
    with listening(netns, family, address) as port:
        assert await everything(await connect_in_netns(netns, port)) == b"from inside\n"
        with pytest.raises(CrishimError):
            await connect_in_netns("", port)


async def test_the_caller_stays_where_it_is(netns: str) -> None:
    """No thread of the daemon is left in the pod's namespace."""
    here = os.readlink("/proc/self/ns/net")
    with listening(netns, socket.AF_INET, "127.0.0.1") as port:
        for _ in range(5):
            (await connect_in_netns(netns, port)).close()
    for _ in range(8):
        assert await asyncio.to_thread(lambda: os.readlink("/proc/thread-self/ns/net")) == here


@pytest.mark.fact("Exec", "Attach", "PortForward")
async def test_host_network(netns: str) -> None:
    """The empty path is the host's namespace."""
    with listening("/proc/self/ns/net", socket.AF_INET, "127.0.0.1") as port:
        assert await everything(await connect_in_netns("", port)) == b"from inside\n"


async def test_nobody_listens(netns: str) -> None:
    """UNAVAILABLE, with the port and the reason; nothing is left open."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(CrishimError, match=r"port 9 .*Connection refused") as caught:
        await connect_in_netns(netns, 9)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_namespace_that_is_gone() -> None:
    """NOT_FOUND names the path."""
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "gone")
        with pytest.raises(CrishimError, match=path) as caught:
            await connect_in_netns(path, 80)
    assert caught.value.kind is Kind.NOT_FOUND
