"""Background work that a call's response does not wait for, retried until it succeeds.

Its intent is on disk before the response: a record in REMOVING, which List and Status do not show. A failure is logged
and retried; if the daemon dies first, recover.py does the work at the next start.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from crishim.errors import CrishimError
from crishim.node import Node

HEAD_START = 0.02  # seconds in which the response is sent and the client's next request gets the CPU
PAUSES = (1.0, 5.0, 30.0, 60.0)  # seconds before each retry; the last one repeats

log = logging.getLogger("crishim.afterwards")

Work = Callable[[], Coroutine[Any, Any, None]]


def start(node: Node, work: Work, name: str, pause: float = 0.0) -> asyncio.Task[None]:
    """Do work in the background after pause seconds, retried until it succeeds; returns the first attempt's task."""
    return node.tasks.start(_attempt(node, work, name, pause), name=name)


def _again(node: Node, work: Work, name: str, failures: int) -> None:
    node.tasks.start(_attempt(node, work, name, 0.0, failures), name=name)


async def _attempt(node: Node, work: Work, name: str, pause: float, failures: int = 0) -> None:
    try:
        await asyncio.sleep(pause)
        await work()
    except BaseException as error:
        pause = PAUSES[min(failures, len(PAUSES) - 1)]
        asyncio.get_running_loop().call_later(pause, _again, node, work, name, failures + 1)
        if not isinstance(error, CrishimError | OSError):
            raise
        log.error("not done yet, and tried again", extra={"task": name, "error": str(error), "seconds": pause})
