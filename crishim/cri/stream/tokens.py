"""Tokens: a URL that was handed out stands for one request, once, for a minute.

The kubelet asks for a URL with the daemon's authority and gives it to a client that has none, so the token is the only
credential: 8 characters of 6 random bits each, as the reference server's.
"""

import secrets
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from crishim.errors import CrishimError, Kind

LIFETIME = 60.0  # seconds
MOST = 1000  # that may wait at once
RANDOM_BYTES = 6  # 8 characters of base64url

T = TypeVar("T")


class Tokens(Generic[T]):
    """Requests that wait for their client. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[str, tuple[float, T]] = {}  # in the order they were made, so the oldest come first

    def issue(self, request: T) -> str:
        """A new token for the request. EXHAUSTED while MOST wait."""
        self._drop_expired()
        if len(self._waiting) >= MOST:
            raise CrishimError(Kind.EXHAUSTED, f"{MOST} streaming requests wait for their clients already")
        token = secrets.token_urlsafe(RANDOM_BYTES)
        while token in self._waiting:
            token = secrets.token_urlsafe(RANDOM_BYTES)
        self._waiting[token] = self._clock() + LIFETIME, request
        return token

    def redeem(self, token: str) -> T | None:
        """The token's request, the first time within LIFETIME; None otherwise."""
        self._drop_expired()
        found = self._waiting.pop(token, None)
        return None if found is None else found[1]

    def _drop_expired(self) -> None:
        now = self._clock()
        while self._waiting:
            token, (expires, _) = next(iter(self._waiting.items()))
            if expires > now:
                return
            del self._waiting[token]
