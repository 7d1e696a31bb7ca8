"""What a SPDY/3.1 session knows of a stream: which directions are open, and its windows (draft 3.1, section 2.6.8)."""

from dataclasses import dataclass
from enum import Enum, auto

WINDOW = 64 * 1024  # bytes, the draft's initial window of a stream and of the session
MAX_WINDOW = 0x7FFFFFFF


class Role(Enum):
    CLIENT = 1  # opens streams with odd ids
    SERVER = 0  # even


class FlowControl(Enum):
    STRICT = auto()  # the draft
    LEARNED = auto()  # as crishim/cri/stream/spdy/session.py describes


@dataclass
class Windows:
    """Both directions' windows of a stream or of the session. A window below zero is closed, by that much.

    A stream's `send` is its difference from the session's initial window, which the peer may change: then no stream
    has to be touched.
    """

    send: int = 0
    receive: int = WINDOW
    unreturned: int = 0  # received and used up, but not yet given back to the peer

    def take_in(self, size: int) -> bool:
        """Bytes have come; False if they were more than the peer was allowed."""
        self.receive -= size
        return self.receive >= 0

    def use_up(self, size: int) -> int:
        """Bytes are used up; how many to give back to the peer now: none, or at least half a window."""
        self.unreturned += size
        if self.unreturned < WINDOW // 2:
            return 0
        returned, self.unreturned = self.unreturned, 0
        self.receive += returned
        return returned

    def widen(self, delta: int, initial: int = 0) -> bool:
        """The peer allows more; False for nothing or for more than a window may hold."""
        if delta == 0 or initial + self.send + delta > MAX_WINDOW:
            return False
        self.send += delta
        return True


@dataclass
class StreamState:
    windows: Windows
    sending: bool = True  # our direction is open
    receiving: bool = True
    replied: bool = False
