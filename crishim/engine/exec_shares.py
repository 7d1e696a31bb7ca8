"""What commands of ExecSync may take at once: places to run, and bytes of output kept, for one container and for all.

A place costs the daemon a runtime process, some descriptors and, under runc, looks at its children. Who finds none free
waits for one, in the order of coming. A command's own time begins when it has a place.
"""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from crishim.errors import CrishimError, Kind

PLACES = 512  # for all containers; fewer where descriptors are few
OF_ONE = 32  # for one of them, and at most a quarter of all
WAITING = 256  # of one container
OUTPUT = 128 << 20  # bytes kept for all containers
OUTPUT_OF_ONE = 32 << 20
_DESCRIPTORS = 9  # of one command while it starts: pipes, pidfds, a program's own pipe


@dataclass
class _Container:
    free: asyncio.Semaphore
    calls: int = 0  # that run or wait
    kept: int = 0  # bytes


@dataclass
class Share:
    """What one command has while it runs."""

    _shares: "Shares"
    _container: _Container
    _kept: int = 0

    def keep(self, size: int) -> int:
        """How many of so many bytes of output may be kept; they count until the command's answer is complete."""
        size = max(0, min(size, OUTPUT - self._shares.kept, OUTPUT_OF_ONE - self._container.kept))
        self._count(size)
        return size

    def give_back(self) -> None:
        self._count(-self._kept)

    def _count(self, size: int) -> None:
        self._kept += size
        self._container.kept += size
        self._shares.kept += size


def _places() -> int:
    """A quarter of the descriptors: half are for streaming, the rest for all other calls."""
    return max(4, min(PLACES, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4 // _DESCRIPTORS))


@dataclass
class Shares:
    """places: of all containers together. of_one: of one container. waiting: how many of one may wait."""

    places: int = field(default_factory=_places)
    of_one: int = OF_ONE
    waiting: int = WAITING
    kept: int = field(default=0, init=False)  # bytes
    _containers: dict[str, _Container] = field(default_factory=dict, init=False)
    _free: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.of_one = max(1, min(self.of_one, self.places // 4))
        self._free = asyncio.Semaphore(self.places)

    @contextlib.asynccontextmanager
    async def place(self, id: str, timeout: float) -> AsyncIterator[Share]:
        """Wait for a place for a command in a container, and have it for as long as the context lasts.

        timeout: seconds to wait at most, 0 for as long as the caller does. EXHAUSTED if none became free, or too many
        wait already.
        """
        mine = self._containers.setdefault(id, _Container(asyncio.Semaphore(self.of_one)))
        if mine.calls >= self.of_one + self.waiting:
            raise _exhausted(id, f"container {id[:13]} runs {self.of_one} commands already, and {self.waiting} wait")
        mine.calls += 1
        try:
            async with contextlib.AsyncExitStack() as held:
                await self._wait(id, mine, timeout, held)
                share = Share(self, mine)
                held.callback(share.give_back)
                yield share
        finally:
            mine.calls -= 1
            if not mine.calls:
                del self._containers[id]

    async def _wait(self, id: str, mine: _Container, timeout: float, held: contextlib.AsyncExitStack) -> None:
        """First for one of the container's own places: who waits there takes none of the others'."""
        running = f"runs {self.of_one} commands"
        try:
            async with asyncio.timeout(timeout or None):
                await held.enter_async_context(mine.free)
                running = f"and others run {self.places} commands"
                await held.enter_async_context(self._free)
        except TimeoutError:
            late = f"this one did not get its turn within {timeout:g} s"
            raise _exhausted(id, f"container {id[:13]} {running} already: {late}") from None


def _exhausted(id: str, text: str) -> CrishimError:
    return CrishimError(Kind.EXHAUSTED, text, container=id)
