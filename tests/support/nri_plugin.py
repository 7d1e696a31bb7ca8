"""An NRI plugin in Python that does as a test tells it.

    plugin = FakePlugin("10", "fake", CreateContainer=lambda request: nri.CreateContainerResponse(...))
    await plugin.connect(path)         connected, registered, and serving
    await plugin.seen("Synchronize")   the first request of that method, when it comes
    await plugin.call("UpdateContainers", nri.UpdateContainersRequest(...), nri.UpdateContainersResponse)

A handler may be a coroutine function, may raise Refusal, and may return bytes in the place of a message.
"""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from crishim.nri.stub import PACKAGE, Refusal, Stub
from crishim.pb import nri_pb2 as nri

__all__ = ["PACKAGE", "FakePlugin", "Refusal"]


class FakePlugin(Stub):
    def __init__(self, index: str, name: str, *, events: int = 0, policy: Any = None, **handlers: Callable[..., Any]):
        """events: mask, 0 for all. handlers: by method; others answer with an empty message."""
        super().__init__(index, name)
        self.configured = nri.ConfigureResponse(events=events, failure_policy=policy)
        self.handlers = handlers
        self.requests: list[tuple[str, Any]] = []  # what came, in order
        self._arrived = asyncio.Condition()

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

    async def handle(self, method: str, request: Any) -> Any:
        async with self._arrived:
            self.requests.append((method, request))
            self._arrived.notify_all()
        if handler := self.handlers.get(method):
            answer = handler(request)
            return await answer if inspect.isawaitable(answer) else answer
        return self.configured if method == "Configure" else super().handle(method, request)
