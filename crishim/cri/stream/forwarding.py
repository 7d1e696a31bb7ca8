"""One forwarded TCP connection: bytes between a client's stream and a port in a pod."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from crishim.cri.stream.sessions import OpenPort

CHUNK = 32 * 1024  # bytes read from the port at once
LINGER = 10.0  # seconds for the last bytes to leave


@contextlib.asynccontextmanager
async def connected(
    open_port: OpenPort, pod_id: str, port: int
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the port. At the end what was written still arrives; after an error it is reset."""
    reader, writer = await open_port(pod_id, port)
    try:
        yield reader, writer
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LINGER):
                await writer.wait_closed()
    finally:
        writer.transport.abort()


async def copy_in(read: Callable[[], Awaitable[bytes]], writer: asyncio.StreamWriter) -> None:
    """From the client to the port; the client's end is passed on as the end of our direction."""
    with contextlib.suppress(OSError):  # the port has closed: what the client still sends is for nobody
        while data := await read():
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def copy_out(reader: asyncio.StreamReader, write: Callable[[bytes], Awaitable[None]]) -> None:
    """From the port to the client, until the port ends or resets the connection."""
    while True:
        try:
            data = await reader.read(CHUNK)
        except OSError:
            return
        if not data:
            return
        await write(data)
