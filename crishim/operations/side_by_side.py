"""Run two steps of an operation concurrently."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


async def both(one: Awaitable[A], other: Awaitable[B]) -> tuple[A, B]:
    """Run two steps concurrently and return their results; if both fail, the first one's error is raised.

    Neither is cancelled when the other fails: a CNI plugin killed halfway leaves state that its own DEL fails on.
    """
    first, second = await asyncio.gather(one, other, return_exceptions=True)
    if isinstance(first, BaseException):
        raise first
    if isinstance(second, BaseException):
        raise second
    return first, second
