"""The state of a SPDY/3.1 stream: which directions are open, and its windows (draft 3.1, section 2.6.8)."""

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
    """Both directions' windows of a stream or of the session, in bytes. A window of zero or less is closed.

    A stream's `send` is relative to the session's initial window, so that no stream has to be updated when the peer
    changes that.
    """

    send: int = 0
    receive: int = WINDOW
    unreturned: int = 0  # received and used, but not sent back in a WINDOW_UPDATE yet

    def take_in(self, size: int) -> bool:
        """Bytes were received; False if they exceed the window."""
        self.receive -= size
        return self.receive >= 0

    def use_up(self, size: int) -> int:
        """Bytes were used; the delta of the WINDOW_UPDATE to send now: 0, or at least half a window."""
        self.unreturned += size
        if self.unreturned < WINDOW // 2:
            return 0
        returned, self.unreturned = self.unreturned, 0
        self.receive += returned
        return returned

    def widen(self, delta: int, initial: int = 0) -> bool:
        """A WINDOW_UPDATE of the peer; False if delta is 0 or exceeds the largest window."""
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
