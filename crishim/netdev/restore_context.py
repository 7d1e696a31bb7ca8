"""The state of one device's restoration on the host: its link, what was captured, what the kernel refused."""

import contextlib
import time
from collections.abc import Iterator

from crishim.linux.netns_thread import Netns
from crishim.netdev.records import Captured


class RestoreContext:
    """One device that is being restored. refusals: the kernel's errors, by property (named as in differences.py).

    A refusal alone is no warning: only what differs in the end is.
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
        """Keep an OSError in refusals, and go on."""
        try:
            yield
        except OSError as error:
            self.refusals[what] = error.strerror or str(error)
