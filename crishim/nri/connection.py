"""The runtime's end of one plugin's connection (its trunk), over asyncio.

A plugin's use of resources is limited: one message in each direction is buffered, MAX_QUEUED bytes wait to be read by
it, MAX_CALLS of its own calls run at once, and in WINDOW seconds it may send MAX_RECEIVED bytes and MAX_IGNORED
meaningless frames, messages and refused calls. Beyond a limit the trunk is closed, as after a malformed frame.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from google.protobuf.message import DecodeError, Message

from crishim.errors import CrishimError, Kind
from crishim.nri.session import BadMessage, BadTrunk, Code, Peer, Request, Response, Session, TooLarge

M = TypeVar("M", bound=Message)

PACKAGE = "nri.pkg.api.v1alpha1"
MAX_QUEUED = 16 << 20
MAX_CALLS = 16
WINDOW = 10.0
MAX_RECEIVED = 64 << 20
MAX_IGNORED = 256
GRACE = 0.25  # seconds an answer may be late: a handler that ends at its deadline still answers

log = logging.getLogger("crishim.nri")

CODES = {
    Kind.INVALID: Code.INVALID_ARGUMENT,
    Kind.NOT_FOUND: Code.NOT_FOUND,
    Kind.EXISTS: Code.ALREADY_EXISTS,
    Kind.PRECONDITION: Code.FAILED_PRECONDITION,
    Kind.DENIED: Code.PERMISSION_DENIED,
    Kind.EXHAUSTED: Code.RESOURCE_EXHAUSTED,
    Kind.UNIMPLEMENTED: Code.UNIMPLEMENTED,
    Kind.UNAVAILABLE: Code.UNAVAILABLE,
}


class Refused(Exception):
    """The plugin answered with an error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text or f"status {code}")
        self.code = code


class Unanswered(Exception):
    """The trunk is closed: no answer will come. The text is the reason, to follow "it"."""


class TimedOut(Unanswered):
    """No answer came in time; the trunk is open."""


class MethodHandler(Protocol):
    """Serves the plugin's calls: returns the answer to a method, or raises CrishimError."""

    def __call__(self, method: str, payload: bytes) -> Awaitable[Message]: ...


class PluginConnection(asyncio.Protocol):
    """Made by the event loop for a connected socket; owns it."""

    def __init__(
        self, methods: tuple[str, ...], handler: MethodHandler, made: Callable[["PluginConnection"], None]
    ) -> None:
        """methods: of the Runtime service, which handler serves. made: called once, with the connection."""
        self._session = Session(Peer.RUNTIME)
        self._methods = methods
        self._handler = handler
        self._made = made
        self._calls: dict[int, asyncio.Future[Response]] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._refused = 0  # calls of the plugin above MAX_CALLS
        # when it began, bytes received in it, nonsense counted before it
        self._window = (asyncio.get_running_loop().time(), 0, 0)
        self._transport: asyncio.Transport | None = None
        self.pid = 0  # of the peer, by SO_PEERCRED; 0 in another PID namespace. For display only.
        self.reason = ""  # why it is closed
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.pid = _peer(transport.get_extra_info("socket"))
        self._made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(f"closed its connection{f': {exc}' if exc else ''}")

    def close(self, reason: str) -> None:
        """Close the trunk at once; all calls raise Unanswered(reason). Idempotent: the first reason is kept."""
        if self.closed.done():
            return
        self.reason = self.reason or reason
        self.closed.set_result(None)
        for waiting in self._calls.values():
            if not waiting.done():
                waiting.set_exception(Unanswered(self.reason))
        for task in self._serving:
            task.cancel()
        if self._transport:
            self._transport.abort()

    async def finish(self, reason: str) -> None:
        """Close once written data has been sent, or after GRACE seconds."""
        if self._transport and not self.closed.done():
            self.reason = reason
            self._transport.close()
            await asyncio.wait([self.closed], timeout=GRACE)
        self.close(reason)

    async def call(self, method: str, request: Message, answer: type[M], timeout: float) -> M:
        """Call a method of the plugin and wait for its answer.

        timeout: seconds the plugin has; GRACE more are waited. Raises Refused, TimedOut, Unanswered, and TooLarge for a
        request that cannot be sent. An answer of a wrong type closes the trunk.
        """
        if self.closed.done():
            raise Unanswered(self.reason)
        stream = self._session.call(f"{PACKAGE}.Plugin", method, request.SerializeToString(), timeout)
        loop = asyncio.get_running_loop()
        waiting = self._calls[stream] = loop.create_future()
        end = loop.time() + timeout
        self._flush()
        try:
            async with asyncio.timeout_at(end + GRACE):
                response = await waiting
        except TimeoutError:
            raise TimedOut(f"did not answer {method} within {timeout:.3g} s") from None
        finally:
            self._session.forget(stream)
            del self._calls[stream]
        if response.code == Code.DEADLINE_EXCEEDED and loop.time() >= end:
            raise TimedOut(f"did not answer {method} within {timeout:.3g} s")
        if response.code != Code.OK:
            raise Refused(response.code, response.text)
        try:
            return answer.FromString(response.payload)
        except DecodeError:
            self.close(f"answered {method} with what is no {answer.DESCRIPTOR.name}")
            raise Unanswered(self.reason) from None

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._session.receive(data):
                if isinstance(event, Request):
                    self._serve(event)
                elif (waiting := self._calls.get(event.stream)) and not waiting.done():
                    waiting.set_result(event)
        except (BadTrunk, BadMessage) as error:
            self.close(f"sent {error}")
            return
        self._flush()
        self._watch_for_floods(len(data))

    def _serve(self, request: Request) -> None:
        if request.service != f"{PACKAGE}.Runtime":
            self._session.fail(request.stream, Code.UNIMPLEMENTED, f"service {request.service[:100]}")
        elif request.method not in self._methods:
            self._session.fail(request.stream, Code.UNIMPLEMENTED, f"method {request.method[:100]}")
        elif len(self._serving) >= MAX_CALLS:
            self._session.fail(
                request.stream, Code.RESOURCE_EXHAUSTED, f"{MAX_CALLS} calls of this plugin are under way"
            )
        else:
            task = asyncio.get_running_loop().create_task(self._answer(request), name=f"nri {request.method}")
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
            return
        self._refused += 1

    async def _answer(self, request: Request) -> None:
        try:
            answer = await self._handler(request.method, request.payload)
        except DecodeError:
            self.close(f"called {request.method} with what is no {request.method}Request")
            return
        except CrishimError as error:
            self._session.fail(request.stream, CODES.get(error.kind, Code.UNKNOWN), str(error))
        except Exception:
            log.exception("a plugin's call failed", extra={"method": request.method})
            self._session.fail(request.stream, Code.INTERNAL, "internal error")
        else:
            self._session.respond(request.stream, answer.SerializeToString())
        self._flush()

    def _flush(self) -> None:
        if self.closed.done() or not self._transport:
            return
        if data := self._session.data_to_send():
            self._transport.write(data)
        if self._transport.get_write_buffer_size() > MAX_QUEUED:
            self.close(f"does not read: {MAX_QUEUED >> 20} MiB wait for it")

    def _watch_for_floods(self, size: int) -> None:
        now, nonsense = asyncio.get_running_loop().time(), self._session.ignored + self._refused
        began, received, before = self._window
        if now - began > WINDOW:
            began, received, before = now, 0, nonsense
        self._window = began, received + size, before
        if received + size > MAX_RECEIVED:
            self.close(f"floods: more than {MAX_RECEIVED >> 20} MiB in {WINDOW:g} s")
        elif nonsense - before > MAX_IGNORED:
            self.close(f"floods: more than {MAX_IGNORED} frames and calls of no use in {WINDOW:g} s")


def _peer(connection: socket.socket) -> int:
    """The pid of a unix socket's peer. unix(7), SO_PEERCRED."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


__all__ = ["PluginConnection", "Refused", "TimedOut", "TooLarge", "Unanswered"]
