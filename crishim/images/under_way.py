"""Pulls under way: which, since when, how much of each is there. For `crishim images list --pulling` and the log.

What was fetched is what lies in the pull's scratch directory: containers/image puts each layer there as the registry
sends it, and unpacks it from there. A layer that the store had already is not fetched, but is part of the total.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from crishim.linux import executors

ASK_AFTER = 2.0  # seconds: a pull that has ended by then needs no total
LOG_EVERY = 10.0  # seconds between two lines in the log for one pull
MAX_FILES = 10_000  # of a scratch directory: one for each layer, and a few more

log = logging.getLogger("crishim.images")


class Pull:
    """One pull under way."""

    def __init__(self, image: str) -> None:
        self.image = image
        self.since = time.time_ns()
        self.fetched = 0  # bytes, as of the last look
        self.total = 0  # bytes of all layers and the configuration, by the registry's word; 0: not known
        self.scratch: Path | None = None  # where it downloads to

    @property
    def seconds(self) -> float:
        return round((time.time_ns() - self.since) / 1e9, 1)

    async def look(self) -> None:
        """Bring `fetched` up to date. It never gets less: a run that starts again has fetched that much."""
        if self.scratch:
            self.fetched = max(self.fetched, await executors.statistics(size_of_files, self.scratch))


class Pulls:
    """All pulls under way into one store."""

    def __init__(self) -> None:
        self._pulls: list[Pull] = []

    async def now(self) -> list[Pull]:
        """Those there are, oldest first, looked at just now."""
        pulls = list(self._pulls)
        await asyncio.gather(*(pull.look() for pull in pulls))
        return pulls

    @contextlib.asynccontextmanager
    async def following(self, image: str, total: Callable[[], Awaitable[int]]) -> AsyncIterator[Pull]:
        """Keep a pull in the list, and its progress in the log, until the block ends.

        total: asks how many bytes there are, 0 if that cannot be known; called for pulls that take a while.
        """
        pull = Pull(image)
        self._pulls.append(pull)
        reports = asyncio.create_task(_report(pull, total))
        try:
            yield pull
        finally:
            self._pulls.remove(pull)
            reports.cancel()
            await asyncio.wait({reports})


async def _report(pull: Pull, total: Callable[[], Awaitable[int]]) -> None:
    await asyncio.sleep(ASK_AFTER)
    pull.total = await total()
    await asyncio.sleep(LOG_EVERY - ASK_AFTER)
    while True:
        await pull.look()
        facts = {"image": pull.image, "seconds": pull.seconds, "bytes": pull.fetched, "total": pull.total or None}
        log.info("image is being pulled", extra=facts)
        await asyncio.sleep(LOG_EVERY)


def size_of_files(directory: Path) -> int:
    """Bytes of the files below a directory, which may go while it is walked. Blocks."""
    size = count = 0
    with contextlib.suppress(OSError):
        for _, _, names, fd in os.fwalk(directory):
            for name in names:
                count += 1
                size += os.stat(name, dir_fd=fd, follow_symlinks=False).st_size
                if count == MAX_FILES:
                    return size
    return size
