"""Limits of sessions, file descriptors and streams, for all clients together and for one pod or container.

One target (a container for exec and attach, a pod for port-forward) has at most a quarter of everything, so that one
that is flooded leaves room for others. Beyond a limit the answer is 429 if the target's share is used up, 503 if the
node's is.
"""

import contextlib
import resource
from collections.abc import Iterator
from dataclasses import dataclass, field

from crishim.cri.stream.requests import AttachStream, ExecStream, StreamRequest

TARGET_SHARE = 4  # divisor of each total: a target's share
EXEC = 9  # descriptors of a session while it starts: the connection, pipes or a terminal, pidfds
ATTACH = 3
FORWARD = 2  # of one forwarded connection while it is made: the socket, the network namespace


class LimitExceeded(Exception):
    """status: the HTTP status to answer with."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Quota:
    """A total of something (`what`, plural), shared by targets."""

    def __init__(self, what: str, total: int) -> None:
        self.used = 0
        self._what = what
        self._total = total
        self._target_total = max(1, total // TARGET_SHARE)
        self._targets: dict[str, int] = {}

    @contextlib.contextmanager
    def hold(self, target: str, amount: int = 1) -> Iterator[None]:
        """Take an amount for the time of the context. Raises LimitExceeded."""
        mine = self._targets.get(target, 0)
        if mine + amount > self._target_total:
            raise LimitExceeded(
                429, f"{target[:13]} uses all {self._target_total} {self._what} one pod or container may have"
            )
        if self.used + amount > self._total:
            raise LimitExceeded(503, f"all {self._total} {self._what} are in use")
        self.used += amount
        self._targets[target] = mine + amount
        try:
            yield
        finally:
            self.used -= amount
            self._targets[target] -= amount
            if not self._targets[target]:
                del self._targets[target]


@dataclass(frozen=True)
class Limits:
    """sessions: at once. streams: of one SPDY session. descriptors: file descriptors for streaming, 0 for half of
    RLIMIT_NOFILE; the other half is for the rest of the daemon.
    """

    sessions: int = 1024
    streams: int = 1024
    descriptors: int = 0
    pending: int = field(init=False)  # connections without a valid token yet
    _sessions: Quota = field(init=False)
    _descriptors: Quota = field(init=False)

    def __post_init__(self) -> None:
        descriptors = self.descriptors or resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        pending = min(256, max(1, descriptors // 4))
        object.__setattr__(self, "pending", pending)
        object.__setattr__(self, "_sessions", Quota("streaming sessions", self.sessions))
        object.__setattr__(self, "_descriptors", Quota("file descriptors for streaming", descriptors - pending))

    @contextlib.contextmanager
    def session(self, request: StreamRequest) -> Iterator[None]:
        """Take what the session of a request needs. Raises LimitExceeded."""
        cost = EXEC if isinstance(request, ExecStream) else ATTACH if isinstance(request, AttachStream) else 1
        with self._sessions.hold(request.target), self._descriptors.hold(request.target, cost):
            yield

    @contextlib.contextmanager
    def forward(self, target: str) -> Iterator[None]:
        """Take what one forwarded connection needs. Raises LimitExceeded."""
        with self._descriptors.hold(target, FORWARD):
            yield
