"""Waiting in asyncio for a condition, with a bound."""

import asyncio
from collections.abc import Callable


async def eventually(holds: Callable[[], object], seconds: float = 10) -> None:
    """Wait until something holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, "waited in vain"
        await asyncio.sleep(0.005)
