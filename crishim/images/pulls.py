"""The running pulls: since when, and bytes fetched. For `crishim images list --pulling` and the log.

The bytes fetched are the size of the pull's scratch directory: containers/image downloads each layer to it and unpacks
it from there. A layer that the store had already is not fetched, but is part of the total.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from crishim.linux import executors

ASK_AFTER = 2.0  # seconds until the total is requested; most pulls end before
LOG_EVERY = 10.0  # seconds between two lines in the log for one pull
MAX_FILES = 10_000  # counted in a scratch directory; there are a few more than layers

log = logging.getLogger("crishim.images")


class Pull:
    """One running pull."""

    def __init__(self, image: str) -> None:
        self.image = image
        self.since = time.time_ns()
        self.fetched = 0  # bytes, as of the last look()
        self.total = 0  # bytes of all layers and the configuration, as the registry says; 0: not known
        self.scratch: Path | None = None  # its downloads

    @property
    def seconds(self) -> float:
        return round((time.time_ns() - self.since) / 1e9, 1)

    async def look(self) -> None:
        """Update `fetched`. It never decreases, also if the run is repeated."""
        if self.scratch:
            self.fetched = max(self.fetched, await executors.statistics(size_of_files, self.scratch))


class Pulls:
    """All running pulls into one store."""

    def __init__(self) -> None:
        self._pulls: list[Pull] = []

    async def now(self) -> list[Pull]:
        """The running pulls, oldest first, with `fetched` updated."""
        pulls = list(self._pulls)
        await asyncio.gather(*(pull.look() for pull in pulls))
        return pulls

    @contextlib.asynccontextmanager
    async def following(self, image: str, total: Callable[[], Awaitable[int]]) -> AsyncIterator[Pull]:
        """List a pull and log its progress during the context.

        total: returns how many bytes there are, 0 if not known; called for pulls that take longer than ASK_AFTER.
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
    """Bytes of the files below a directory, which may be removed meanwhile. Blocks."""
    size = count = 0
    with contextlib.suppress(OSError):
        for _, _, names, fd in os.fwalk(directory):
            for name in names:
                count += 1
                size += os.stat(name, dir_fd=fd, follow_symlinks=False).st_size
                if count == MAX_FILES:
                    return size
    return size
