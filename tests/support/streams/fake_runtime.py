"""A StreamingRuntime of sessions and ports that need no container (crishim/cri/stream/runtime.py)."""

import asyncio
import socket
from dataclasses import dataclass, field

from crishim.errors import CrishimError, Kind
from crishim.linux.byte_sockets import ByteSocket
from crishim.model import ExecSpec


@dataclass
class FakeSession:
    """Answers each chunk of stdin with `echo` of it, and ends when stdin does; all it saw is kept."""

    exit_code: int = 0
    output: bytes = b""  # written to stdout at once
    errors: bytes = b""
    until: str = "stdin"  # what ends it: "stdin", "at once", or "never"
    failure: str = ""  # wait() raises it
    stdin: bytes = b""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    stalled: bool = False  # never takes any stdin
    written: int = 0

    def __post_init__(self) -> None:
        self.ended = asyncio.Event()
        self.closed = asyncio.Event()
        self._out: asyncio.Queue[bytes] = asyncio.Queue()
        self._err: asyncio.Queue[bytes] = asyncio.Queue()
        for queue, data in ((self._out, self.output), (self._err, self.errors)):
            if data:
                queue.put_nowait(data)
        if self.until == "at once":
            self._end()

    def _end(self) -> None:
        self.ended.set()
        self._out.put_nowait(b"")
        self._err.put_nowait(b"")

    async def write_stdin(self, data: bytes) -> None:
        if self.stalled:
            await asyncio.Event().wait()
        self.stdin += data
        self._out.put_nowait(data)

    async def close_stdin(self) -> None:
        if self.until == "stdin":
            self._end()

    async def read_stdout(self) -> bytes:
        data = await self._out.get()
        self.written += len(data)
        return data

    async def read_stderr(self) -> bytes:
        return await self._err.get()

    async def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))

    async def wait(self) -> int:
        if self.failure:
            raise CrishimError(Kind.INTERNAL, self.failure)
        await self.ended.wait()
        return self.exit_code

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.closed.set()


class EndlessSession(FakeSession):
    """Writes to stdout as fast as it is read, until it is closed."""

    async def read_stdout(self) -> bytes:
        await asyncio.sleep(0)
        self.written += 32768
        return bytes(32768)


class FakeRuntime:
    """What a StreamServer is given. The next session is `session`; ports are those of a server on the loopback."""

    def __init__(self) -> None:
        self.session = FakeSession()
        self.refusal = ""
        self.opened: list[tuple[str, object]] = []
        self.port = 0

    async def open_exec(self, container_id: str, spec: ExecSpec) -> FakeSession:
        return self._open(container_id, spec)

    async def open_attach(self, container_id: str, **streams: bool) -> FakeSession:
        return self._open(container_id, streams)

    def _open(self, container_id: str, what: object) -> FakeSession:
        if self.refusal:
            raise CrishimError(Kind.PRECONDITION, self.refusal)
        self.opened.append((container_id, what))
        return self.session

    async def open_port(self, pod_id: str, port: int) -> ByteSocket:
        self.opened.append((pod_id, port))
        if self.refusal:
            raise CrishimError(Kind.UNAVAILABLE, self.refusal)
        sock = socket.socket()
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        except BaseException:
            sock.close()
            raise
        return ByteSocket(sock)
