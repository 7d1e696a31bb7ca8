"""Two steps of an operation at a time."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


async def both(one: Awaitable[A], other: Awaitable[B]) -> tuple[A, B]:
    """The results of two steps that run side by side; the first one's error goes before the other's.

    Both are let run to their end: a CNI plugin killed in its middle leaves what its own DEL then stumbles over.
    """
    first, second = await asyncio.gather(one, other, return_exceptions=True)
    if isinstance(first, BaseException):
        raise first
    if isinstance(second, BaseException):
        raise second
    return first, second
