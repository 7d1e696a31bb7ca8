"""An asyncio transport as a stream that buffers one piece in each direction; the rest waits in the kernel.

asyncio's own StreamReader takes 384 KiB from a client before anything is read: 384 MB from a thousand clients.
"""

import asyncio
from typing import cast

CHUNK = 64 * 1024  # bytes taken from the kernel at once
_scratch = memoryview(bytearray(CHUNK))  # shared: received data is copied out in the same callback


class ByteStream(asyncio.BufferedProtocol):
    """One connection. Raises OSError and ssl.SSLError, as its transport does."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._held = b""  # received, not read yet
        self._ended = False  # EOF received, or the connection is lost
        self._lost: BaseException | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    async def read(self) -> bytes:
        """The next bytes, b"" at the end. For one task at a time."""
        assert self._transport is not None
        while not self._held and not self._ended:
            self._transport.resume_reading()
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data, self._held = self._held, b""
        if not data and self._lost:
            raise self._lost
        return data

    async def write(self, data: bytes) -> None:
        """Pass bytes to the kernel; returns when it has accepted all."""
        assert self._transport is not None
        if not self._lost and data:
            self._transport.write(data)
            await self._writable.wait()
        if self._lost:
            raise self._lost

    async def write_eof(self) -> None:
        """Wait until all is written, and shut down our side; not with TLS, which cannot."""
        assert self._transport is not None
        await self._writable.wait()
        if not self._lost and self._transport.can_write_eof():
            self._transport.write_eof()

    def abort(self) -> None:
        """Close at once; data not written or not read yet is lost."""
        self._held = b""
        if self._transport is not None:
            self._transport.abort()

    # called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=1)  # with 0 TLS begins paused

    def get_buffer(self, sizehint: int) -> memoryview:
        return _scratch

    def buffer_updated(self, nbytes: int) -> None:
        self._held += bytes(_scratch[:nbytes])
        if self._reader is None or self._reader.done():
            assert self._transport is not None
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        assert self._transport is not None
        return self._transport.get_extra_info("ssl_object") is None  # keep our side open; TLS cannot

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        self._lost = error or ConnectionResetError("the connection is closed")
        self._wake()
        self._writable.set()

    def pause_writing(self) -> None:
        if not self._lost:
            self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
