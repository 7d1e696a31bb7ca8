"""Stub: write an NRI plugin in Python. Not used by the daemon but by packaging/examples/nri-macvlan.

    class Hello(Stub):
        async def RunPodSandbox(self, request: nri.RunPodSandboxRequest) -> nri.RunPodSandboxResponse:
            raise Refusal("not here") if request.pod.namespace == "bad" else ...

    await Hello("10", "hello").serve(Path("/var/run/nri/nri.sock"))

A method of the subclass named like an event (events.EVENTS, and Synchronize) is its handler; the plugin subscribes to
the events it has handlers for. A handler, a function or a coroutine, takes the request and returns the response, None
for an empty one, or raises Refusal. The runtime disconnects a plugin whose answer is late.
"""

import asyncio
import contextlib
import inspect
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message

from crishim.nri import events
from crishim.nri.session import Code, Peer, Request, Response, Session
from crishim.nri.settings import NRI_VERSION
from crishim.pb import nri_pb2 as nri

M = TypeVar("M", bound=Message)
PACKAGE = "nri.pkg.api.v1alpha1"


class Refusal(Exception):
    """An error as the answer to a call. code: its status."""

    def __init__(self, text: str, code: Code = Code.UNKNOWN) -> None:
        super().__init__(text)
        self.code = code


class Stub:
    def __init__(self, index: str, name: str) -> None:
        """index: two digits, plugins are called in their order. name: letters, digits and -_.+"""
        self.index, self.name = index, name
        self.configuration = nri.ConfigureRequest()  # the runtime's name and version, and our settings
        self.closed = asyncio.Event()  # the runtime has closed the connection
        self.writer: asyncio.StreamWriter | None = None
        self._session = Session(Peer.PLUGIN)
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, path: Path) -> None:
        """Connect, register, and serve until the runtime closes. Raises OSError if it cannot connect, Refusal."""
        try:
            await self.connect(path)
            await self.closed.wait()
        finally:
            await self.close()

    async def connect(self, path: Path) -> None:
        """Connect to a runtime's socket and register."""
        reader, self.writer = await asyncio.open_unix_connection(str(path))
        self._start(self._read(reader))
        await self.register()

    async def register(self) -> None:
        request = nri.RegisterPluginRequest(plugin_name=self.name, plugin_idx=self.index, NRI_version=NRI_VERSION)
        await self.call("RegisterPlugin", request, nri.Empty)

    async def close(self) -> None:
        """Close the connection and cancel running handlers. Idempotent."""
        if self.writer:
            self.writer.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def call(self, method: str, request: Message, answer: type[M]) -> M:
        """Call the runtime. Raises Refusal for an error it answers, ConnectionError if it closed the connection."""
        if self.closed.is_set():
            raise ConnectionResetError("the runtime closed")
        stream = self._session.call(f"{PACKAGE}.Runtime", method, request.SerializeToString())
        waiting = self._waiting[stream] = asyncio.get_running_loop().create_future()
        self._flush()
        response = await waiting
        if response.code:
            raise Refusal(response.text, Code(response.code))
        return answer.FromString(response.payload)

    def handle(self, method: str, request: Any) -> Any:
        """The answer to a call, or a coroutine of it: a message, bytes, or None for an empty message."""
        if handler := getattr(self, method, None):
            return handler(request)
        if method == "Synchronize":
            return nri.SynchronizeResponse(more=request.more)
        return None

    def Configure(self, request: nri.ConfigureRequest) -> nri.ConfigureResponse:
        self.configuration = request
        mask = sum(event.bit for event in events.EVENTS if hasattr(self, event.method))
        return nri.ConfigureResponse(events=mask)

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                for event in self._session.receive(data):
                    if isinstance(event, Request):
                        self._start(self._serve(event))
                    else:
                        self._waiting.pop(event.stream).set_result(event)
        self.closed.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError("the runtime closed"))
                waiting.exception()

    async def _serve(self, event: Request) -> None:
        kind = nri.StateChangeEvent if event.method == "StateChange" else getattr(nri, f"{event.method}Request")
        try:
            answer = self.handle(event.method, kind.FromString(event.payload))
            answer = await answer if inspect.isawaitable(answer) else answer
            answer = nri.Empty() if answer is None else answer
            self._session.respond(event.stream, answer if isinstance(answer, bytes) else answer.SerializeToString())
        except Refusal as refusal:
            self._session.fail(event.stream, refusal.code, str(refusal))
        self._flush()

    def _flush(self) -> None:
        if self.writer and not self.writer.is_closing():
            self.writer.write(self._session.data_to_send())
