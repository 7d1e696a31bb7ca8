"""Reads and writes file descriptors of pipes and terminals in the event loop, without a buffer of ours.

What is not read stays in the kernel's pipe (64 KiB), and the writer waits: that is the backpressure.
"""

import asyncio
import os

CHUNK = 64 * 1024  # bytes, a pipe's capacity


class ReadEnd:
    """Owns a descriptor that is read."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._quiet: float | None = None

    async def read(self, size: int = CHUNK) -> bytes:
        """The next bytes, b"" at the end: no writer is left, the terminal hung up, or after drain() nothing came."""
        while self._fd >= 0:
            try:
                return os.read(self._fd, size)
            except BlockingIOError:
                if not await self._wait_readable(self._quiet):
                    return b""
            except OSError:  # EIO: a terminal whose other side is closed
                return b""
        return b""

    def drain(self, quiet: float = 0) -> None:
        """End reading when nothing came for `quiet` seconds, even if a writer still has it open.

        What was written to a pipe can be read at once. A terminal's output passes through a work queue of the kernel,
        so for a terminal 0 may lose the last bytes.
        """
        self._quiet = quiet
        self._wake()

    @property
    def starved(self) -> bool:
        """Whether a read() waits for bytes."""
        return self._waiter is not None

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._wake()

    async def _wait_readable(self, limit: float | None) -> bool:
        """False if nothing came within `limit` seconds of quiet."""
        if limit == 0:
            return False
        self._waiter = self._loop.create_future()
        self._loop.add_reader(self._fd, self._wake)
        try:
            async with asyncio.timeout(limit):
                await self._waiter
        except TimeoutError:
            return False
        finally:
            self._waiter = None
            if self._fd >= 0:
                self._loop.remove_reader(self._fd)
        return True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class WriteEnd:
    """Owns a descriptor that is written."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> bool:
        """Write all of it, waiting while the pipe is full. False if there is no reader."""
        rest = memoryview(data)
        while rest and self._fd >= 0:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                await self._wait_writable()
            except OSError:  # EPIPE, or EIO from a terminal
                return False
        return not rest

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._wake()

    async def _wait_writable(self) -> None:
        self._waiter = self._loop.create_future()
        self._loop.add_writer(self._fd, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if self._fd >= 0:
                self._loop.remove_writer(self._fd)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
