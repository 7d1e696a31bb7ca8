"""Usage of containers' writable layers, measured in a thread and not in the RPCs.

Measuring walks a tree of any size, so one daemon thread measures one layer after another, and callers get the last
result. On request it is measured again if it is older than MAX_AGE and than SHARE times the time it took, so that at
most a twentieth of a core is used. A layer whose container has ended does not change any more.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

MAX_AGE = 10.0  # seconds
SHARE = 20
TOLERANCE = 1_000_000_000  # ns; an end is dated by a file's time, which may be some ticks early


class Measured(Protocol):
    """What a measuring function returns."""

    @property
    def bytes(self) -> int: ...

    @property
    def inodes(self) -> int: ...


class Layer(msgspec.Struct, frozen=True):
    path: Path
    ended_at: int = 0  # when the container ended, ns since the epoch; 0: it has not


class LayerUsage(msgspec.Struct, frozen=True):
    taken_at: int  # ns since the epoch
    bytes: int
    inodes: int
    took: float = 0.0  # seconds


class Layers:
    """The writable layers by container id. Belongs to the event loop's thread."""

    def __init__(self, measure: Callable[[Path], Measured], *, max_age: float = MAX_AGE) -> None:
        """measure: blocks; OSError means that the layer cannot be measured now."""
        self._measure = measure
        self._max_age = max_age
        self._known: dict[str, LayerUsage] = {}
        # Requested measurements; the first of a list may be running.
        self._pending: dict[str, list[asyncio.Future[None]]] = {}
        self._queue: queue.SimpleQueue[tuple[str, Path, asyncio.AbstractEventLoop]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def usage(
        self, layers: Mapping[str, Layer], *, patience: float, fresh: bool = False
    ) -> dict[str, LayerUsage]:
        """The last result for each layer, by container id; a layer not measured in time is left out.

        patience: seconds to wait in all, for layers without a result; fresh: also for a new result of each that may
        have changed.
        """
        asked_at = time.time_ns()
        awaited = []
        for id, layer in layers.items():
            known = self._known.get(id)
            if known is not None and (self._is_good(known, layer) and not (fresh and not self._is_final(known, layer))):
                continue
            future = self._request(id, layer.path, fresh)
            if known is None or fresh:
                awaited.append(future)
        if awaited:
            await asyncio.wait(awaited, timeout=max(patience - (time.time_ns() - asked_at) / 1e9, 0))
        return {id: self._known[id] for id in layers if id in self._known}

    def forget(self, id: str) -> None:
        """Drop what is known of a container that is gone."""
        self._known.pop(id, None)

    def _is_final(self, known: LayerUsage, layer: Layer) -> bool:
        return 0 < layer.ended_at < known.taken_at - TOLERANCE

    def _is_good(self, known: LayerUsage, layer: Layer) -> bool:
        age = (time.time_ns() - known.taken_at) / 1e9
        return self._is_final(known, layer) or age < max(self._max_age, known.took * SHARE)

    def _request(self, id: str, path: Path, fresh: bool) -> asyncio.Future[None]:
        """A future that is done when the layer was measured, or could not be; fresh: by a measurement begun later."""
        pending = self._pending.setdefault(id, [])
        if not pending or (fresh and len(pending) == 1):
            loop = asyncio.get_running_loop()
            pending.append(loop.create_future())
            self._queue.put((id, path, loop))
            if self._thread is None:
                # A daemon thread: a walk that takes minutes does not delay the end of the process.
                self._thread = threading.Thread(target=self._work, name="layers", daemon=True)
                self._thread.start()
        return pending[-1]

    def _work(self) -> None:
        while True:
            id, path, loop = self._queue.get()
            taken_at, started = time.time_ns(), time.monotonic()
            try:
                found = self._measure(path)
                usage = LayerUsage(taken_at, found.bytes, found.inodes, time.monotonic() - started)
            except OSError:
                usage = None
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._finish, id, usage)

    def _finish(self, id: str, usage: LayerUsage | None) -> None:
        if usage is not None:
            self._known[id] = usage
        pending = self._pending[id]
        pending.pop(0).set_result(None)
        if not pending:
            del self._pending[id]
