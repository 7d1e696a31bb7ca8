"""Clients in asyncio: plain HTTP, SPDY (our own machine in the other role), WebSocket (the library's)."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from crishim.cri.stream.spdy.events import (
    DataReceived,
    GoneAway,
    SessionFailed,
    StreamEnded,
    StreamReplied,
    StreamReset,
)
from crishim.cri.stream.spdy.session import SpdySession
from crishim.cri.stream.spdy.state import FlowControl, Role
from tests.support.streams.upgrade import request as request

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(url: str, tls: ssl.SSLContext | None = None) -> Pair:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port, ssl=tls)


async def ask(url: str, *headers: str, method: str = "POST", tls: ssl.SSLContext | None = None) -> str:
    """The answer to a request that is refused, as text."""
    reader, writer = await connect(url, tls)
    writer.write(request(url, *headers, method=method))
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer.decode()


class SpdyClient:
    """A client after the 101. Everything its streams received is in `received`, ends in `ended`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self.head = head
        self.session = SpdySession(Role.CLIENT, flow_control=FlowControl.LEARNED)
        self.received: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.reset: dict[int, int] = {}
        self.replied: set[int] = set()
        self.gone_away = False
        self.hung_up = False
        self.consumes = True
        self._reader = reader
        self._writer = writer
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def open(self, **headers: str) -> int:
        stream = self.session.open_stream({name.replace("_", "-"): value for name, value in headers.items()})
        self.flush()
        await self.until(lambda: stream in self.replied or stream in self.reset)
        return stream

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        self.session.send_data(stream, data, fin=fin)
        self.flush()

    def flush(self) -> None:
        self._writer.write(self.session.data_to_send())

    async def until(self, holds: object, seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not holds():  # type: ignore[operator]
                self._changed.clear()
                await self._changed.wait()

    async def text(self, stream: int) -> bytes:
        """What a stream received, once it has ended or was reset."""
        await self.until(lambda: stream in self.ended or stream in self.reset)
        return self.received.get(stream, b"")

    def pause(self) -> None:
        """Stop reading from the socket."""
        self._task.cancel()

    def close(self) -> None:
        self._task.cancel()
        self._writer.transport.abort()

    async def _run(self) -> None:
        while data := await self._read():
            for event in self.session.receive_data(data):
                self._note(event)
            self.flush()
            self._changed.set()
        self.hung_up = True
        self._changed.set()

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(65536)
        except OSError:
            return b""

    def _note(self, event: object) -> None:
        match event:
            case DataReceived(stream, data):
                self.received[stream] = self.received.get(stream, b"") + data
                if self.consumes:
                    self.session.consumed(stream, len(data))
            case StreamEnded(stream):
                self.ended.add(stream)
            case StreamReset(stream, status):
                self.reset[stream] = status
            case StreamReplied(stream):
                self.replied.add(stream)
            case GoneAway():
                self.gone_away = True
            case SessionFailed(reason):
                raise AssertionError(f"the server broke SPDY: {reason}")


@contextlib.asynccontextmanager
async def spdy(
    url: str, *versions: str, method: str = "POST", tls: ssl.SSLContext | None = None
) -> AsyncIterator[SpdyClient]:
    """A SPDY client that offers these versions."""
    reader, writer = await connect(url, tls)
    headers = ["Connection: Upgrade", "Upgrade: SPDY/3.1", *(f"X-Stream-Protocol-Version: {v}" for v in versions)]
    writer.write(request(url, *headers, method=method))
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    assert head.startswith("HTTP/1.1 101 "), head
    client = SpdyClient(reader, writer, head)
    try:
        yield client
    finally:
        client.close()
        await asyncio.gather(client._task, return_exceptions=True)


class WebSocketClient:
    """A client after the handshake. Its messages are read one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: ClientProtocol) -> None:
        self.protocol = protocol
        self._reader = reader
        self._writer = writer
        self._frames: list[Frame] = []

    def send(self, data: bytes, *, text: bool = False) -> None:
        (self.protocol.send_text if text else self.protocol.send_binary)(data)
        self.flush()

    def flush(self) -> None:
        self._writer.write(b"".join(self.protocol.data_to_send()))

    async def frame(self) -> Frame:
        """The next frame, pongs and closes included."""
        async with asyncio.timeout(10):
            while not self._frames:
                data = await self._reader.read(65536)
                assert data, "the server hung up"
                self.protocol.receive_data(data)
                self._frames += [e for e in self.protocol.events_received() if isinstance(e, Frame)]
                self.flush()
        return self._frames.pop(0)

    async def message(self) -> bytes:
        return bytes((await self.frame()).data)

    async def messages(self) -> list[bytes]:
        """All messages up to the server's close."""
        found = []
        while (frame := await self.frame()).opcode is not Opcode.CLOSE:
            found.append(bytes(frame.data))
        return found


@contextlib.asynccontextmanager
async def websocket(url: str, *subprotocols: str) -> AsyncIterator[WebSocketClient]:
    """A WebSocket client that offers these subprotocols. Its head is our own: the library refuses the tunnel's name."""
    reader, writer = await connect(url)
    headers = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    headers += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *(f"Sec-WebSocket-Protocol: {s}" for s in subprotocols)]
    writer.write(request(url, *headers, method="GET"))
    try:
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 101 "), head
        assert ("sec-websocket-protocol" in head.lower()) == bool(subprotocols)
        assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        yield WebSocketClient(reader, writer, ClientProtocol(parse_uri("ws://server"), state=State.OPEN))
    finally:
        writer.transport.abort()
