"""The steps of restoring a device, none of which does anything but note that it was taken."""

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

from crishim.linux.netlink.links import IFF_UP, Link
from crishim.netdev import bpf_programs, restore_link, restore_network
from crishim.netdev import restore as module
from crishim.netdev.records import Attachment, Captured
from crishim.netdev.restore import ReturnOutcome
from tests.unit.netdev.fake_addresses import FakeAddresses
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth

WAS = Captured(index=5, name="demo0", kind="veth", mtu=1400, flags=IFF_UP, altnames=("also",))
KNOWN = attachment(host=WAS)
STEPS = [
    (bpf_programs, "restore"),
    (restore_link, "restore_link"),
    (restore_link, "restore_tunings"),
    (restore_link, "restore_files"),
    (module, "restore_settings"),
    (restore_link, "restore_condition"),
    (restore_link, "restore_refused_files"),
    (restore_network, "restore_nexthops"),
    (restore_network, "restore_routes"),
    (restore_network, "restore_entries"),
    (restore_network, "restore_multicast"),
    (restore_network, "restore_queueing"),
    (module, "audit"),
]
ALL = [name for _, name in STEPS]
OF_A_LINK_THAT_IS_UP = {"restore_condition", "restore_nexthops", "restore_routes"}


class Steps:
    """What was restored, in order; refuse: steps that fail; say: what a step tells; meanwhile: at the end of a look."""

    def __init__(self, addresses: FakeAddresses) -> None:
        self.taken: list[str] = []
        self.disarmed: list[Link] = []  # after the move, before any step
        self.refuse: set[str] = set()
        self.say: dict[str, list[str]] = {}
        self.meanwhile: Callable[[], None] = lambda: None
        self.addresses = addresses
        self.place: Any = None

    def step(self, name: str) -> Callable[..., list[str]]:
        def take(place: Any, *_: object, **options: Any) -> list[str]:
            if name in self.refuse:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            self.place = place
            self.taken.append(name if not options.get("down") else f"{name} of one that is down")
            if name == "audit":
                self.meanwhile()
            return self.say.get(name, [])

        return take


@pytest.fixture
def steps(fake_links: None, fake_addresses: FakeAddresses, monkeypatch: pytest.MonkeyPatch) -> Steps:
    made = Steps(fake_addresses)
    for where, name in STEPS:
        monkeypatch.setattr(where, name, made.step(name))
    monkeypatch.setattr(bpf_programs, "detach_pod_programs", lambda context, link: made.disarmed.append(link))
    return made


def restore(known: Attachment, host: Any, pod: Any) -> ReturnOutcome:
    """One device alone: moved, if it is in the pod, and restored."""
    return module.restore(known, host, pod, module.move_to_host(known, host, pod))


def at_home(**fields: Any) -> Any:
    """A host with the device as it was when it was taken, and our mark."""
    known: dict[str, Any] = {"altnames": ("also", KNOWN.altname), "mtu": 1400, "flags": IFF_UP}
    return FakeEnd(veth(5, fields.pop("name", "demo0"), **known | fields))


def in_pod(**fields: Any) -> Any:
    known: dict[str, Any] = {"altnames": ("also", KNOWN.altname), "mtu": 1400, "flags": IFF_UP}
    return FakeEnd(veth(5, "net1", **known | fields), inode=2)


def empty(inode: int = 1) -> Any:
    return FakeEnd(inode=inode)
