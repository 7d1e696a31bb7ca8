"""Client of conmon's attach socket: a container's own stdin, stdout and stderr.

conmon 2.1 (conn_sock.c, ctrl.c): the socket is SOCK_SEQPACKET. The container's output comes in packets of one byte (2:
stdout, 3: stderr) and up to 8 KiB of data; packets we send, of up to 32 KiB, go to its stdin. shutdown(2) of our
sending side, or closing the connection, ends the container's stdin, unless conmon runs with --leave-stdin-open: so
conmon implements stdin_once. A terminal's size is a line "1 HEIGHT WIDTH" in the ctl FIFO. conmon sends to its clients
in blocking mode: while a client does not read, the container's output and its log stall (backpressure, as with docker);
a client that is gone is closed at once.
"""

import asyncio
import contextlib
import os
import socket as sockets
from pathlib import Path

from crishim.errors import CrishimError, Kind
from crishim.linux import executors
from crishim.linux.seqpacket import SeqpacketSocket

STDOUT, STDERR = 2, 3  # the first byte of a packet
PACKET = 32 * 1024  # bytes conmon takes at once
RECEIVED = 64 * 1024  # more than conmon sends at once


class AttachSession:
    """One connection; implements crishim.cri.stream.runtime.ProcessSession. Made by connect()."""

    def __init__(self, connection: SeqpacketSocket, control: Path, *, stdout: bool, stderr: bool, tty: bool) -> None:
        self._connection = connection
        self._control = control
        self._tty = tty
        self._outputs = {STDOUT: asyncio.Queue[bytes](1) if stdout else None}
        self._outputs[STDERR] = asyncio.Queue[bytes](1) if stderr else None
        self._reading = asyncio.create_task(self._read())

    async def write_stdin(self, data: bytes) -> None:
        for at in range(0, len(data), PACKET):
            await self._connection.send(data[at : at + PACKET])

    async def close_stdin(self) -> None:
        if not self._tty:
            self._connection.shutdown()

    async def read_stdout(self) -> bytes:
        return await self._next(STDOUT)

    async def read_stderr(self) -> bytes:
        return await self._next(STDERR)

    async def resize(self, width: int, height: int) -> None:
        if self._tty:
            await executors.records(_write_control, self._control, b"1 %d %d\n" % (height, width))

    async def wait(self) -> int:
        """Wait until the container's streams end; returns 0, as attach has no exit code."""
        await asyncio.shield(self._reading)
        return 0

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._connection.close()

    async def _read(self) -> None:
        """Put packets into their output's queue. An output that is not read blocks the other one, and conmon."""
        while packet := await self._connection.receive(RECEIVED):
            output = self._outputs.get(packet[0])
            if output is not None and len(packet) > 1:
                await output.put(packet[1:])
        for output in self._outputs.values():
            if output is not None:
                await output.put(b"")

    async def _next(self, kind: int) -> bytes:
        output = self._outputs[kind]
        if output is None:
            return b""
        data = await output.get()
        if not data:
            output.put_nowait(b"")  # further reads return the end, too
        return data


async def connect(socket: Path, control: Path, *, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> AttachSession:
    """Connect to a conmon.

    socket: conmon's attach socket (path of any length). control: its `ctl` FIFO. stdin is not used: it is open if the
    container was created with it. Raises PRECONDITION if conmon is gone.
    """
    connection = await executors.records(_connect, socket)
    return AttachSession(SeqpacketSocket(connection), control, stdout=stdout, stderr=stderr and not tty, tty=tty)


def _connect(path: Path) -> sockets.socket:
    """Connect through the directory's descriptor: a socket's path may have at most 107 bytes (unix(7))."""
    connection = sockets.socket(sockets.AF_UNIX, sockets.SOCK_SEQPACKET)
    try:
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)
    except OSError as error:
        connection.close()
        raise CrishimError(
            Kind.PRECONDITION, f"cannot attach: the container has no monitor ({error.strerror})", socket=str(path)
        ) from error
    connection.setblocking(False)
    return connection


def _write_control(control: Path, line: bytes) -> None:
    """Write to the ctl FIFO; does nothing if conmon is gone."""
    with contextlib.suppress(OSError):
        fd = os.open(control, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fd, line)
        finally:
            os.close(fd)
