"""Limits of concurrent ExecSync commands and of their buffered output, for one container and for all.

A command costs a runtime process, some descriptors and, with runc, polling of its children. Without a free slot a
command waits, first come, first served. Its own timeout begins when it has its slot.
"""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from crishim.errors import CrishimError, Kind

SLOTS = 512  # for all containers; fewer if RLIMIT_NOFILE is low
CONTAINER_SLOTS = 32  # for one container, and at most a quarter of all
CONTAINER_QUEUE = 256  # waiting calls for one container
OUTPUT = 128 << 20  # bytes buffered for all containers
CONTAINER_OUTPUT = 32 << 20
_DESCRIPTORS = 9  # of one command while it starts: pipes, pidfds, subprocess's own pipe


@dataclass
class _Container:
    free: asyncio.Semaphore
    calls: int = 0  # running and waiting
    output: int = 0  # bytes kept


@dataclass
class Slot:
    """The slot of one running command, and the output it has reserved."""

    _limits: "ExecLimits"
    _container: _Container
    _reserved: int = 0

    def reserve(self, size: int) -> int:
        """Reserve up to size bytes of output; returns how many are within the limits. Counted until release()."""
        size = max(0, min(size, OUTPUT - self._limits.output, CONTAINER_OUTPUT - self._container.output))
        self._count(size)
        return size

    def release(self) -> None:
        self._count(-self._reserved)

    def _count(self, size: int) -> None:
        self._reserved += size
        self._container.output += size
        self._limits.output += size


def _slots() -> int:
    """A quarter of the descriptors: half are for streaming, the rest for all other calls."""
    return max(4, min(SLOTS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4 // _DESCRIPTORS))


@dataclass
class ExecLimits:
    """slots: of all containers. container_slots, container_queue: slots and waiting calls of one container."""

    slots: int = field(default_factory=_slots)
    container_slots: int = CONTAINER_SLOTS
    container_queue: int = CONTAINER_QUEUE
    output: int = field(default=0, init=False)  # bytes kept
    _containers: dict[str, _Container] = field(default_factory=dict, init=False)
    _free: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.container_slots = max(1, min(self.container_slots, self.slots // 4))
        self._free = asyncio.Semaphore(self.slots)

    @contextlib.asynccontextmanager
    async def slot(self, id: str, timeout: float) -> AsyncIterator[Slot]:
        """Wait for a slot for a command in a container, and hold it during the context.

        timeout: seconds to wait at most, 0 for no limit. Raises EXHAUSTED if none became free, or too many calls wait
        already.
        """
        mine = self._containers.setdefault(id, _Container(asyncio.Semaphore(self.container_slots)))
        if mine.calls >= self.container_slots + self.container_queue:
            raise _exhausted(
                id, f"container {id[:13]} runs {self.container_slots} commands already, and {self.container_queue} wait"
            )
        mine.calls += 1
        try:
            async with contextlib.AsyncExitStack() as held:
                await self._wait(id, mine, timeout, held)
                slot = Slot(self, mine)
                held.callback(slot.release)
                yield slot
        finally:
            mine.calls -= 1
            if not mine.calls:
                del self._containers[id]

    async def _wait(self, id: str, mine: _Container, timeout: float, held: contextlib.AsyncExitStack) -> None:
        """Wait for one of the container's slots first, so that waiting there holds none of all slots."""
        running = f"runs {self.container_slots} commands"
        try:
            async with asyncio.timeout(timeout or None):
                await held.enter_async_context(mine.free)
                running = f"and others run {self.slots} commands"
                await held.enter_async_context(self._free)
        except TimeoutError:
            late = f"this one did not get its turn within {timeout:g} s"
            raise _exhausted(id, f"container {id[:13]} {running} already: {late}") from None


def _exhausted(id: str, text: str) -> CrishimError:
    return CrishimError(Kind.EXHAUSTED, text, container=id)
