"""Tokens in the streaming server's URLs: each is valid for one request, once, for a minute.

The kubelet passes the URL to a client without access to the daemon's socket, so the token is the only credential: 8
characters of 6 random bits each, as the reference server's.
"""

import secrets
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from crishim.errors import CrishimError, Kind

LIFETIME = 60.0  # seconds
MOST = 1000  # tokens at once
MOST_BYTES = 32 << 20  # of their requests together: a command may be megabytes long
RANDOM_BYTES = 6  # 8 characters of base64url

T = TypeVar("T")


class Tokens(Generic[T]):
    """The requests with a valid token. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[str, tuple[float, T, int]] = {}  # by token: when it expires, request, bytes; oldest first
        self._size = 0

    def issue(self, request: T, size: int = 0) -> str:
        """A new token for a request of `size` bytes. Raises EXHAUSTED beyond MOST or MOST_BYTES."""
        self._drop_expired()
        if len(self._waiting) >= MOST or self._size + size > MOST_BYTES:
            count = len(self._waiting)
            raise CrishimError(Kind.EXHAUSTED, f"{count} streaming requests wait for their clients already")
        token = secrets.token_urlsafe(RANDOM_BYTES)
        while token in self._waiting:
            token = secrets.token_urlsafe(RANDOM_BYTES)
        self._waiting[token] = self._clock() + LIFETIME, request, size
        self._size += size
        return token

    def redeem(self, token: str) -> T | None:
        """The token's request, the first time within LIFETIME; None otherwise."""
        self._drop_expired()
        return self._drop(token) if token in self._waiting else None

    def _drop(self, token: str) -> T:
        _, request, size = self._waiting.pop(token)
        self._size -= size
        return request

    def _drop_expired(self) -> None:
        now = self._clock()
        while self._waiting:
            token, (expires, _, _) = next(iter(self._waiting.items()))
            if expires > now:
                return
            self._drop(token)
