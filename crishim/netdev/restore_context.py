"""A device back on the host while it is being restored: where it is, what it was, and what the kernel refused."""

import contextlib
import time
from collections.abc import Iterator

from crishim.linux.netns_thread import Netns
from crishim.netdev.records import Captured


class RestoreContext:
    """One device's way back. refusals: the kernel's words, by what was to be restored (the names of differences.py).

    A refusal alone is no warning: what counts is what differs in the end.
    """

    def __init__(self, host: Netns, index: int, name: str, was: Captured) -> None:
        """index, name: on the host now. was: as captured."""
        self.host, self.index, self.name, self.was = host, index, name, was
        self.refusals: dict[str, str] = {}
        self.touched: set[str] = set()  # fields of Captured that differed and were written

    @property
    def away(self) -> float:
        """Seconds since it was captured; 0 if that is not known (a record of an older daemon)."""
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return max(0.0, (now - self.was.taken) / 1e9) if self.was.taken else 0.0

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Go on after an OSError, which is kept."""
        try:
            yield
        except OSError as error:
            self.refusals[what] = error.strerror or str(error)
