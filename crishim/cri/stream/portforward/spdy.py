"""Port forwarding over SPDY: any number of connections into one pod, as the client opens them.

The limit counts the connections still served, not the client's open streams: a client that resets streams at once gets
no more than one that keeps them. Streams whose pair stays incomplete expire in the order they came, so one timer is
enough for all.
"""

import asyncio
import logging
from contextlib import ExitStack
from functools import partial

from crishim.cri.stream.limits import LimitExceeded, Limits
from crishim.cri.stream.portforward.copy import connected, copy_in
from crishim.cri.stream.portforward.protocol import BadStream, Pair, Pairing
from crishim.cri.stream.runtime import StreamingRuntime
from crishim.cri.stream.spdy.headers import Headers
from crishim.cri.stream.spdy.streams import SpdyStreams, Stream
from crishim.cri.stream.spdy.transport import SpdyTransport
from crishim.errors import CrishimError

log = logging.getLogger(__name__)


class SpdyForwarder:
    """Serves one client. Each pair of streams becomes a connection; the streams end when it does."""

    def __init__(
        self, transport: SpdyTransport, runtime: StreamingRuntime, pod_id: str, creation_timeout: float, limits: Limits
    ) -> None:
        self._spdy = SpdyStreams(transport, self, limits.streams)
        self._runtime = runtime
        self._pod_id = pod_id
        self._creation_timeout = creation_timeout
        self._limits = limits
        self._pairing = Pairing()
        self._halves: dict[int, tuple[float, Stream]] = {}  # by number: when it expires, and the stream; oldest first
        self._half_came = asyncio.Event()
        self._forwards = 0
        self._group = asyncio.TaskGroup()

    async def serve(self) -> None:
        """Serve until ConnectionEnded (in a group); then all connections are closed."""
        async with self._group:
            self._group.create_task(self._expire())
            await self._spdy.run()

    def stream_opened(self, stream: Stream, headers: Headers) -> None:
        try:
            pair = self._pairing.stream_opened(stream.number, headers)
        except BadStream as bad:
            log.debug("refused a port-forward stream for pod %s: %s", self._pod_id, bad)
            stream.refuse()
            return
        if pair is None:
            stream.accept()
            self._halves[stream.number] = (asyncio.get_running_loop().time() + self._creation_timeout, stream)
            stream.on_reset = partial(self._forget_half, stream)
            self._half_came.set()
        else:
            _, half = self._halves.pop(pair.data if pair.error == stream.number else pair.error)
            data, error = (half, stream) if half.number == pair.data else (stream, half)
            self._begin(pair, data, error, stream)

    def _forget_half(self, stream: Stream) -> None:
        del self._halves[stream.number]
        self._pairing.stream_gone(stream.number)
        stream.buffer.discard()

    async def _expire(self) -> None:
        """Reset streams whose pair stays incomplete."""
        while True:
            self._half_came.clear()
            await self._half_came.wait()
            while self._halves:
                expires, stream = next(iter(self._halves.values()))
                left = expires - asyncio.get_running_loop().time()
                if left > 0:
                    await asyncio.sleep(left)
                else:
                    self._forget_half(stream)
                    await stream.reset()

    def _begin(self, pair: Pair, data: Stream, error: Stream, latest: Stream) -> None:
        """Forward a pair, or refuse it at a limit: the client then sees its latest stream fail alone."""
        with ExitStack() as held:
            try:
                held.enter_context(self._limits.forward(self._pod_id))
                if self._forwards >= max(1, self._limits.streams // 2):
                    raise LimitExceeded(429, "too many connections in one session")
            except LimitExceeded as full:
                log.debug("refused a port-forward connection to pod %s: %s", self._pod_id, full)
                data.on_reset = error.on_reset = None
                data.refuse()
                error.refuse()
                return
            latest.accept()
            self._forwards += 1
            task = self._group.create_task(self._forward(pair, data, error))
            task.add_done_callback(partial(self._ended, data, held.pop_all()))
            data.on_reset, error.on_reset = partial(_reset, task, error), None
            error.buffer.discard()  # clients send nothing on it

    def _ended(self, data: Stream, held: ExitStack, _: asyncio.Task[None]) -> None:
        """Release what a forward took from the limits, also if it was reset before its task began."""
        held.close()
        self._forwards -= 1
        data.buffer.discard()

    async def _forward(self, pair: Pair, data: Stream, error: Stream) -> None:
        try:
            async with connected(self._runtime, self._pod_id, pair.port) as connection:
                inward = asyncio.create_task(copy_in(data.read, connection))
                try:
                    await data.write_from(connection)
                    await data.end()
                    await inward
                finally:
                    inward.cancel()
                    await asyncio.gather(inward, return_exceptions=True)
        except CrishimError as failure:
            text = f"error forwarding port {pair.port} to pod {self._pod_id}: {failure.message}"
            await error.write(text.encode())
        data.on_reset = None
        await error.end()
        await data.reset()


def _reset(task: asyncio.Task[None], error: Stream) -> None:
    """The client has reset the data stream. It waits for the error stream's end, sent with the next flush."""
    task.cancel()
    error.finish()
