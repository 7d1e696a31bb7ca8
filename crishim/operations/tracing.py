"""Where the milliseconds go: named spans, logged at debug level with the ids of the call they belong to."""

import contextlib
import logging
import time
from collections.abc import Awaitable, Iterator
from typing import TypeVar

T = TypeVar("T")

log = logging.getLogger("crishim.trace")


@contextlib.contextmanager
def span(step: str) -> Iterator[None]:
    """Log how long the enclosed step took, in ms."""
    started = time.perf_counter()
    try:
        yield
    finally:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("step", extra={"step": step, "ms": round((time.perf_counter() - started) * 1000, 2)})


async def timed(step: str, work: Awaitable[T]) -> T:
    """span() around an awaitable."""
    with span(step):
        return await work
