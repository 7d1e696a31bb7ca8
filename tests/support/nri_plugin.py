"""An NRI plugin in Python, over the plugin's end of our own machines: a peer that does as a test tells it.

    plugin = FakePlugin("10", "fake", CreateContainer=lambda request: nri.CreateContainerResponse(...))
    await plugin.connect(path)         connected, registered, and serving
    await plugin.seen("Synchronize")   the first request of that method, when it comes
    await plugin.call("UpdateContainers", nri.UpdateContainersRequest(...), nri.UpdateContainersResponse)

A handler may be a coroutine function, may raise Refusal, and may return bytes in the place of a message.
"""

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message

from crishim.nri.session import Code, End, Request, Response, Session
from crishim.pb import nri_pb2 as nri

M = TypeVar("M", bound=Message)
PACKAGE = "nri.pkg.api.v1alpha1"


class Refusal(Exception):
    def __init__(self, text: str, code: Code = Code.UNKNOWN) -> None:
        super().__init__(text)
        self.code = code


class FakePlugin:
    def __init__(self, index: str, name: str, *, events: int = 0, policy: Any = None, **handlers: Callable[..., Any]):
        """events: mask, 0 for all. handlers: by method; others answer with an empty message."""
        self.index, self.name = index, name
        self.configured = nri.ConfigureResponse(events=events, failure_policy=policy)
        self.handlers = handlers
        self.requests: list[tuple[str, Any]] = []  # what came, in order
        self.closed = asyncio.Event()
        self._session = Session(End.PLUGIN)
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._arrived = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self.writer: asyncio.StreamWriter | None = None

    async def connect(self, path: Path) -> None:
        """Connect to a runtime's socket and register."""
        reader, self.writer = await asyncio.open_unix_connection(str(path))
        self._start(self._read(reader))
        await self.register()

    async def register(self) -> None:
        request = nri.RegisterPluginRequest(plugin_name=self.name, plugin_idx=self.index, NRI_version="v0.12.5")
        await self.call("RegisterPlugin", request, nri.Empty)

    async def close(self) -> None:
        if self.writer:
            self.writer.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def call(self, method: str, request: Message, answer: type[M]) -> M:
        """Call the runtime. Refusal is what it refused with, ConnectionError if it closed."""
        if self.closed.is_set():
            raise ConnectionResetError("the runtime closed")
        stream = self._session.call(f"{PACKAGE}.Runtime", method, request.SerializeToString())
        waiting = self._waiting[stream] = asyncio.get_running_loop().create_future()
        self._flush()
        response = await waiting
        if response.code:
            raise Refusal(response.text, Code(response.code))
        return answer.FromString(response.payload)

    async def seen(self, method: str, count: int = 1) -> Any:
        """The count-th request of a method, as soon as it has come."""
        async with self._arrived, asyncio.timeout(20):
            await self._arrived.wait_for(lambda: len(self.of(method)) >= count)
        return self.of(method)[count - 1]

    def of(self, method: str) -> list[Any]:
        return [request for name, request in self.requests if name == method]

    def methods(self) -> list[str]:
        """What came, without the two that come to each plugin."""
        return [name for name, _ in self.requests if name not in ("Configure", "Synchronize")]

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
        request = kind.FromString(event.payload)
        async with self._arrived:
            self.requests.append((event.method, request))
            self._arrived.notify_all()
        try:
            answer = self._answer(event.method, request)
            answer = await answer if inspect.isawaitable(answer) else answer
            self._session.respond(event.stream, answer if isinstance(answer, bytes) else answer.SerializeToString())
        except Refusal as refusal:
            self._session.fail(event.stream, refusal.code, str(refusal))
        self._flush()

    def _answer(self, method: str, request: Any) -> Any:
        if handler := self.handlers.get(method):
            return handler(request)
        if method == "Configure":
            return self.configured
        if method == "Synchronize":
            return nri.SynchronizeResponse(more=request.more)
        return nri.Empty()

    def _flush(self) -> None:
        if self.writer and not self.writer.is_closing():
            self.writer.write(self._session.data_to_send())
