"""The bridge from the event loop to a throw-away thread that works in network namespaces."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from crishim.linux import executors
from crishim.linux.netns_thread import in_namespaces
from crishim.linux.sysfs import Kept

T = TypeVar("T")


async def across(paths: tuple[str | Path, ...], work: Callable[..., T], kept: Kept | None = None) -> T:
    """Await work(End, ...), one end in each namespace, run in a thread of its own (netns_thread.py).

    A cancelled caller waits for the thread nevertheless: half a move must not go on behind a rollback's back.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    body = partial(executors.carry_out, loop, done, partial(in_namespaces, paths, work, kept))
    threading.Thread(target=body, name="netdev", daemon=True).start()
    cancelled: asyncio.CancelledError | None = None
    while not done.done():
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        done.exception()  # seen: the cancellation is what the caller gets
        raise cancelled
    return done.result()
