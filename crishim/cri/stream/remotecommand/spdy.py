"""A remote command's streams over SPDY: collect them as the client opens them, then read and write."""

import asyncio

from crishim.cri.stream.connection import ConnectionEnded
from crishim.cri.stream.remotecommand.protocol import ERROR, RESIZE, STDIN, STREAM_TYPE, V1, Outcome, StreamOptions
from crishim.cri.stream.spdy.headers import Headers
from crishim.cri.stream.spdy.streams import SpdyStreams, Stream
from crishim.cri.stream.spdy.transport import SpdyTransport

MAX_STREAMS = 16  # streams open at once; five have a meaning


class SpdyClientStreams:
    """Implements serve.ClientStreams. version: as negotiated. Streams the request did not ask for are refused."""

    def __init__(self, transport: SpdyTransport, version: str, options: StreamOptions, creation_timeout: float) -> None:
        self._spdy = SpdyStreams(transport, self, MAX_STREAMS)
        self._version = version
        self._creation_timeout = creation_timeout
        self._names = options.streams(version)
        self._streams: dict[str, Stream] = {}
        self._complete = asyncio.Event()

    async def run(self) -> None:
        await self._spdy.run()

    async def wait_ready(self) -> None:
        """Wait until the client has opened all streams. Raises ConnectionEnded if it takes too long."""
        timeout = self._creation_timeout
        try:
            async with asyncio.timeout(timeout):
                await self._complete.wait()
        except TimeoutError:
            missing = ", ".join(sorted(self._names - self._streams.keys()))
            raise ConnectionEnded(f"the client did not open these streams in {timeout:g} s: {missing}") from None
        if self._version == V1 and STDIN in self._streams:
            await self._streams[STDIN].end()  # what clients of version 1 expect

    async def read_stdin(self) -> bytes:
        return await self._streams[STDIN].read()

    async def read_resize(self) -> bytes:
        return await self._streams[RESIZE].read() if RESIZE in self._streams else b""

    async def write(self, name: str, data: bytes) -> None:
        await self._streams[name].write(data)

    async def finish(self, outcome: Outcome) -> None:
        report = outcome.report(self._version)
        if report:
            await self._streams[ERROR].write(report)
        for name in sorted(self._streams, key=lambda n: n == ERROR):  # the error stream ends last: clients wait for it
            await self._streams[name].end()
        await self._spdy.close()

    def stream_opened(self, stream: Stream, headers: Headers) -> None:
        name = headers.get(STREAM_TYPE, "")
        if name in self._names and name not in self._streams:
            self._streams[name] = stream
            stream.accept()
        else:
            stream.refuse()
        if self._names == self._streams.keys():
            self._complete.set()
