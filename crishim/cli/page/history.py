"""Keeps the last events, and the attachments of network devices, since the page is served. Bounded. Pure."""

from collections import OrderedDict, deque

from crishim.cli.page.device_states import AttachmentHistory
from crishim.pb import admin_pb2 as admin

MOST_EVENTS = 60
MOST_WAYS = 500
MOST_STATES = 16  # of one attachment: a lost device may reappear many times


class History:
    def __init__(self) -> None:
        self._events: deque[str] = deque(maxlen=MOST_EVENTS)
        self._ways: OrderedDict[str, AttachmentHistory] = OrderedDict()

    @property
    def events(self) -> list[str]:
        """The latest first."""
        return list(reversed(self._events))

    @property
    def ways(self) -> list[AttachmentHistory]:
        """In the order of their last change."""
        return list(self._ways.values())

    def add_event(self, line: str) -> None:
        self._events.append(line)

    def add_change(self, change: admin.NetDeviceChange) -> None:
        """Add the next state of an attachment."""
        before = self._ways.pop(change.id, None)
        seen = (*(before.seen if before else ()), (change.state, change.at))[-MOST_STATES:]
        self._ways[change.id] = AttachmentHistory(
            change.id, change.host_name, change.name, change.pod_sandbox_id, change.pod, seen
        )
        while len(self._ways) > MOST_WAYS:
            self._ways.popitem(last=False)
