"""Reads a device in its pod as it is now, for display."""

from crishim.linux.netlink import addresses
from crishim.linux.netns_thread import Netns
from crishim.model import Record
from crishim.netdev.identity import find_in_pod
from crishim.netdev.records import Attachment


class Observation(Record, frozen=True, kw_only=True):
    """What a pod's processes see of a device; all of it may differ from what was attached."""

    name: str
    index: int
    mac: str  # "02:00:00:00:00:01"
    mtu: int
    is_up: bool
    has_carrier: bool
    addresses: tuple[str, ...]  # "192.0.2.7/24", link-local ones too


def observe(attachment: Attachment, pod: Netns) -> Observation | None:
    """Read it; None if it is not in the pod. Raises OSError."""
    link = find_in_pod(attachment, pod)
    if link is None:
        return None
    return Observation(
        name=link.name,
        index=link.index,
        mac=link.mac.hex(":"),
        mtu=link.mtu,
        is_up=link.is_up,
        has_carrier=link.has_carrier,
        addresses=tuple(str(a) for a in addresses.dump(pod.netlink, link.index)),
    )
