"""One forwarded TCP connection: bytes between a client's stream and a port in a pod."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from crishim.cri.stream.runtime import StreamingRuntime
from crishim.linux.byte_sockets import ByteSocket


@contextlib.asynccontextmanager
async def connected(runtime: StreamingRuntime, pod_id: str, port: int) -> AsyncIterator[ByteSocket]:
    """A connection to the port, closed at the end; the kernel still sends what was written."""
    connection = await runtime.open_port(pod_id, port)
    try:
        yield connection
    finally:
        connection.close()


async def copy_in(read: Callable[[], Awaitable[bytes]], connection: ByteSocket) -> None:
    """Copy from the client to the port; at the client's end the connection is shut down for writing."""
    while data := await read():
        if not await connection.send(data):
            return  # the port has closed the connection
    connection.shutdown()
