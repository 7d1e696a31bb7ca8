"""A remote command's streams as numbered channels of a WebSocket."""

from crishim.cri.stream.connection import Connection
from crishim.cri.stream.remotecommand.protocol import (
    CHANNELS,
    ERROR,
    RESIZE,
    STDERR,
    STDIN,
    STDOUT,
    V1,
    V4,
    V5,
    Outcome,
    StreamOptions,
)
from crishim.cri.stream.websocket.channel_codec import BASE64_V4
from crishim.cri.stream.websocket.channels import Channels
from crishim.cri.stream.websocket.protocol import WebSocket

NUMBERS = {name: number for number, name in enumerate(CHANNELS)}
REPORTS = {V5: V4, V4: V4, BASE64_V4: V4}  # their error stream ends with a Status, others' with a text


class WebSocketClientStreams:
    """Implements serve.ClientStreams. subprotocol: as negotiated, "" for none."""

    def __init__(
        self, connection: Connection, socket: WebSocket, surplus: bytes, subprotocol: str, options: StreamOptions
    ):
        readable = [NUMBERS[name] for name, on in ((STDIN, options.stdin), (RESIZE, options.tty)) if on]
        self._channels = Channels(connection, socket, surplus, subprotocol, readable)
        self._version = REPORTS.get(subprotocol, V1)
        self._first = STDOUT if options.stdout else STDERR if options.stderr else ERROR

    async def run(self) -> None:
        await self._channels.run()

    async def wait_ready(self) -> None:
        """Send an empty message on the lowest channel we write: the client then knows that it is connected."""
        await self.write(self._first, b"")

    async def read_stdin(self) -> bytes:
        return await self._channels.read(NUMBERS[STDIN])

    async def read_resize(self) -> bytes:
        return await self._channels.read(NUMBERS[RESIZE])

    async def write(self, name: str, data: bytes) -> None:
        await self._channels.write(NUMBERS[name], data)

    async def finish(self, outcome: Outcome) -> None:
        report = outcome.report(self._version)
        if report:
            await self.write(ERROR, report)
        await self._channels.close()
