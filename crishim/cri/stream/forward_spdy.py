"""Port forwarding over SPDY: any number of connections into one pod, as the client opens them."""

import asyncio
import logging

from crishim.cri.stream.carriers import Carrier
from crishim.cri.stream.forwarding import connected, copy_in, copy_out
from crishim.cri.stream.sessions import OpenPort
from crishim.cri.stream.spdy_streams import SpdyStreams, Stream
from crishim.errors import CrishimError
from crishim.wire.portforward import BadStream, Pair, Pairing

log = logging.getLogger(__name__)


class SpdyForwarder:
    """Serves one client. Each pair of streams becomes a connection; the streams end when it does."""

    def __init__(self, carrier: Carrier, open_port: OpenPort, pod_id: str, creation_timeout: float) -> None:
        self._spdy = SpdyStreams(carrier, self._opened)
        self._open_port = open_port
        self._pod_id = pod_id
        self._creation_timeout = creation_timeout
        self._pairing = Pairing()
        self._halves: dict[int, Stream] = {}  # streams that wait for their other half
        self._group = asyncio.TaskGroup()

    async def serve(self) -> None:
        """Until ConnectionEnded (in a group); then all connections are closed."""
        async with self._group:
            await self._spdy.run()

    def _opened(self, stream: Stream) -> None:
        try:
            pair = self._pairing.stream_opened(stream.number, stream.headers)
        except BadStream as error:
            log.info("refused a port-forward stream for pod %s: %s", self._pod_id, error)
            stream.refuse()
            return
        stream.accept()
        self._halves[stream.number] = stream
        if pair is None:
            self._group.create_task(self._expire(stream))
        else:
            self._group.create_task(self._forward(pair, self._halves.pop(pair.data), self._halves.pop(pair.error)))

    async def _expire(self, stream: Stream) -> None:
        """Give up a stream whose other half does not come."""
        await asyncio.sleep(self._creation_timeout)
        if self._pairing.waits(stream.number):
            self._pairing.stream_gone(stream.number)
            del self._halves[stream.number]
            await stream.reset()

    async def _forward(self, pair: Pair, data: Stream, error: Stream) -> None:
        try:
            async with connected(self._open_port, self._pod_id, pair.port) as (reader, writer):
                inward = asyncio.create_task(copy_in(data.read, writer))
                outward = asyncio.create_task(copy_out(reader, data.write))
                gone = asyncio.create_task(data.gone.wait())
                try:
                    await _first(outward, gone)
                    await data.end()
                    await _first(inward, gone)
                finally:
                    for task in (inward, outward, gone):
                        task.cancel()
                    await asyncio.gather(inward, outward, gone, return_exceptions=True)
        except CrishimError as failure:
            text = f"error forwarding port {pair.port} to pod {self._pod_id}: {failure.message}"
            await error.write(text.encode())
            await data.reset()
        await error.end()
        await data.reset()


async def _first(*tasks: asyncio.Task[object]) -> None:
    """Wait for the first task and raise what it raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
