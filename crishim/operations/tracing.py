"""Where the milliseconds go: named spans, logged at debug level with the ids of the call they belong to."""

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

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


async def timed(step: str, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """span() around `await function(*args)`, which is not called before it is its turn: a task that is cancelled
    before its first step has begun nothing."""
    with span(step):
        return await function(*args, **kwargs)
