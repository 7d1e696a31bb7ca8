"""TCP connections from inside a network namespace: a socket belongs to the namespace it was made in (setns(2)).

Only making it needs a thread in that namespace; the event loop does the rest. setns(2) acts on one thread, which must
not be used for anything else afterwards: each call has a throw-away thread.
"""

import asyncio
import os
import socket
from functools import partial

from crishim.errors import CrishimError, Kind
from crishim.linux import executors, namespaces
from crishim.linux.byte_sockets import ByteSocket

ADDRESSES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


_threads = executors.Executor("netns-connect", 4)  # clients of port-forward choose how many sockets are made


async def connect_in_netns(netns: str, port: int, timeout: float = 10) -> ByteSocket:
    """Connect to `port` on the loopback (127.0.0.1, then ::1) of the namespace at path `netns` ("": the host's).

    timeout: seconds for both addresses. UNAVAILABLE if nothing listens on either, NOT_FOUND if the namespace is gone.
    """
    refused = ""
    try:
        async with asyncio.timeout(timeout):
            for family, address in ADDRESSES:
                try:
                    return await _connect(netns, family, address, port)
                except OSError as error:
                    refused = refused or f"{address}: {os.strerror(error.errno or 0)}"
    except TimeoutError:
        refused = f"no answer within {timeout:g} s"
    raise CrishimError(Kind.UNAVAILABLE, f"cannot connect to port {port} in the pod: {refused}", port=port)


async def _connect(netns: str, family: int, address: str, port: int) -> ByteSocket:
    connection = await _socket(netns, family)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (address, port))
        return ByteSocket(connection)
    except BaseException:
        connection.close()
        raise


async def _socket(netns: str, family: int) -> socket.socket:
    """Waits for the thread also when cancelled, so that its socket is closed and the pool's limit holds."""
    making = asyncio.ensure_future(_threads(_make_socket, netns, family))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        await asyncio.wait([making])
        if making.exception() is None:
            making.result().close()
        raise


def _make_socket(netns: str, family: int) -> socket.socket:
    if not netns:
        return socket.socket(family, socket.SOCK_STREAM)
    try:
        return namespaces.inside({"net": netns}, partial(socket.socket, family, socket.SOCK_STREAM))
    except FileNotFoundError as error:
        raise CrishimError(Kind.NOT_FOUND, f"there is no network namespace at {netns}", path=netns) from error
