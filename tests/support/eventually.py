"""Waiting in asyncio for a condition, with a bound."""

import asyncio
import os
from collections.abc import Callable

PATIENCE = float(os.environ.get("CRISHIM_TEST_PATIENCE", "1"))  # what bounds are multiplied by, on slow machines


async def eventually(holds: Callable[[], object], seconds: float = 10) -> None:
    """Wait until something holds."""
    deadline = asyncio.get_running_loop().time() + seconds * PATIENCE
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, "waited in vain"
        await asyncio.sleep(0.005)
