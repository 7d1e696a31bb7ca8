"""One forwarded TCP connection: bytes between a client's stream and a port in a pod."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from crishim.cri.stream.runtime import StreamingRuntime
from crishim.linux.byte_sockets import ByteSocket


@contextlib.asynccontextmanager
async def connected(runtime: StreamingRuntime, pod_id: str, port: int) -> AsyncIterator[ByteSocket]:
    """A connection to the port. At the end what was written still arrives: the kernel has it."""
    connection = await runtime.open_port(pod_id, port)
    try:
        yield connection
    finally:
        connection.close()


async def copy_in(read: Callable[[], Awaitable[bytes]], connection: ByteSocket) -> None:
    """From the client to the port; the client's end is passed on as the end of our direction."""
    while data := await read():
        if not await connection.send(data):
            return  # the port has closed: what the client still sends is for nobody
    connection.shutdown()
