"""The way home on made-up links: which steps are taken, in which order, and what is said."""

import errno
import os
import struct
import time
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.linux.netlink.addresses import IFA_CACHEINFO, Address
from crishim.linux.netlink.links import IFF_UP
from crishim.linux.netlink.rtnetlink import attribute
from crishim.netdev import restore_link
from crishim.netdev.restore import ReturnOutcome
from tests.unit.netdev.fake_addresses import address
from tests.unit.netdev.fake_links import attachment, veth
from tests.unit.netdev.fake_steps import ALL, KNOWN, OF_A_LINK_THAT_IS_UP, WAS, Steps, at_home, empty, in_pod, restore


def test_addresses_need_no_detection_and_do_not_keep_the_flag_for_that(steps: Steps) -> None:
    known = attachment(host=replace(WAS, addresses=(address("2001:db8::7/64", 0x80),)))
    restore(known, at_home(), None)
    assert steps.addresses.done == [("add nodad", "2001:db8::7/64"), ("settle", "2001:db8::7/64")]


def test_lifetimes_go_on_while_it_is_away(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has ended meanwhile stays away."""
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: 107 * 10**9)

    def lease(words: str, valid: int) -> Address:
        made = address(words)
        lifetimes = attribute(IFA_CACHEINFO, struct.pack("=IIII", 5, valid, 0, 0))
        return replace(made, attributes=made.attributes + lifetimes)

    leases = (lease("192.0.2.1/24", 7), lease("192.0.2.2/24", 8))
    restore(attachment(host=replace(WAS, taken=100 * 10**9, addresses=leases)), at_home(), None)
    (back,) = steps.addresses.found[5]
    assert str(back) == "192.0.2.2/24"
    assert struct.unpack("=IIII", back.fields[IFA_CACHEINFO])[:2] == (0, 1)


def test_home_from_the_pod(steps: Steps) -> None:
    """Under its old name and ifindex, down on the way, all steps in order, our mark off."""
    host, pod = empty(), in_pod()
    assert restore(KNOWN, host, pod) == ReturnOutcome("demo0", (), "", "", 5)
    assert pod.done == [("move", 5, "demo0", False, 5)]
    assert pod.links == {}
    assert host.links[5] == veth(5, "demo0", altnames=("also",), mtu=1400, flags=IFF_UP)
    assert steps.taken == ALL
    assert (steps.place.host, steps.place.index, steps.place.name, steps.place.was) == (host, 5, "demo0", WAS)
    assert [(link.index, link.is_up) for link in steps.disarmed] == [(5, False)]
    assert host.entered == 2


def test_what_was_down_stays_down(steps: Steps) -> None:
    """And has no routes, nexthops or carrier to be given."""
    known = attachment(host=replace(WAS, flags=0))
    host = at_home()
    assert restore(known, host, None) == ReturnOutcome("demo0", (), "", "", 5)
    assert not host.links[5].is_up
    assert steps.taken == [s for s in ALL if s not in OF_A_LINK_THAT_IS_UP]


def test_one_that_cannot_be_brought_up(steps: Steps) -> None:
    """The reason is told, and what needs it up is not tried."""
    host = at_home(flags=0)
    host.refuse = {"flags": errno.EADDRINUSE}
    said = "demo0 is back but cannot be brought up: Address already in use"
    assert restore(KNOWN, host, None) == ReturnOutcome("demo0", (said,), "", "Address already in use", 5)
    assert steps.taken == [*(s for s in ALL[:-1] if s not in OF_A_LINK_THAT_IS_UP), "audit of one that is down"]
    known = attachment(host=replace(WAS, flags=0))
    outcome = restore(known, host, None)
    assert outcome.problems == ("demo0 is back but cannot be brought down: Address already in use",)
    assert outcome.down == ""


@pytest.mark.parametrize("refused", [name for name in ALL if name not in ("restore_refused_files", "restore_routes")])
def test_a_step_that_fails_does_not_keep_others_from_following(steps: Steps, refused: str) -> None:
    steps.refuse = {refused}
    outcome = restore(KNOWN, at_home(), None)
    assert steps.taken == [name for name in ALL if name != refused]
    (said,) = outcome.problems
    assert said.endswith(": Device or resource busy")
    assert "demo0" in said
    assert outcome.name == "demo0"


def test_what_steps_say_is_told(steps: Steps) -> None:
    steps.say = {"restore_routes": ["a route is lost"], "audit": ["mtu differs"]}
    assert restore(KNOWN, at_home(), None).problems == ("a route is lost", "mtu differs")


def test_flags_other_than_up(steps: Steps) -> None:
    """Before it is brought up, and only where they differ."""
    known = attachment(host=replace(WAS, flags=IFF_UP | 0x100))
    host = at_home(flags=0x1000 | 0x10000)
    restore(known, host, None)
    rest = 0x1 | 0x4 | 0x20 | 0x80 | 0x100 | 0x200 | 0x1000 | 0x2000 | 0x4000 | 0x8000
    assert [x for x in host.done if x[0] == "flags"] == [("flags", 5, 0x100, rest & ~IFF_UP), ("flags", 5, 1, 1)]
    host = at_home(flags=0x100)
    restore(known, host, None)
    assert [x for x in host.done if x[0] == "flags"] == [("flags", 5, 1, 1)]
    host.refuse = {"flags": errno.EPERM}
    host.replace(5, flags=0)
    said = restore(known, host, None).problems
    assert said[0] == "the flags of demo0 were not restored: Operation not permitted"


def test_what_is_mended_in_the_pod(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others on the host would see at once: there, before the move."""
    seen = []
    pod = in_pod()
    monkeypatch.setattr(
        restore_link, "restore_fields", lambda place, end, link: seen.append((end.inode, place.name, len(pod.links)))
    )
    restore(KNOWN, empty(), pod)
    assert seen == [(2, "net1", 1)]


def test_a_kernel_that_refuses_the_move(steps: Steps) -> None:
    """Is an error, and the device stays where it is."""
    pod = in_pod()
    pod.refuse = {"move": errno.EPERM}
    with pytest.raises(OSError, match="Operation not permitted"):
        restore(KNOWN, empty(), pod)
    assert list(pod.links) == [5]
    assert steps.taken == []


def test_a_move_that_failed_half_way(steps: Steps) -> None:
    """It is on the host under another name, since its own was taken in between: the host's part goes on from there."""
    host, pod = empty(), in_pod()

    def half(*what: Any) -> None:
        if what[0] == "move":
            host.links[5], host.devices[5] = replace(pod.links.pop(5), name="dev5"), pod.devices.pop(5)
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))

    pod.act = half
    assert restore(KNOWN, host, pod) == ReturnOutcome("demo0", (), "", "", 5)
    assert ("change", 5, {"name": "demo0"}) in host.done


def test_a_link_that_goes_while_it_is_restored(steps: Steps) -> None:
    host = at_home()
    steps.meanwhile = host.links.clear
    assert restore(KNOWN, host, None) == ReturnOutcome("demo0", (), "", "", 5)


def test_one_that_is_nowhere(steps: Steps) -> None:
    """LOST, with where it was looked for; who carries its mark is named and stays."""
    gone = "it is neither on the host nor anywhere else: its pod's namespace is gone"
    assert restore(KNOWN, empty(), None) == ReturnOutcome("", (), gone)
    assert restore(KNOWN, empty(), empty(2)) == ReturnOutcome("", (), "it is neither on the host nor in its pod")
    pod = empty(2)
    pod.links[7], pod.devices[7] = veth(7, "twin", altnames=(KNOWN.altname,)), 1007
    outcome = restore(KNOWN, empty(), pod)
    assert outcome.name == ""
    assert outcome.reason == (
        "it is neither on the host nor in its pod; twin there carries its mark and is another device (a pod's swap): "
        "it stays"
    )
    assert list(pod.links) == [7]


def test_a_pod_on_the_hosts_own_namespace(steps: Steps) -> None:
    """A handle that leads to the host: nothing is moved from there."""
    host = at_home()
    assert restore(KNOWN, host, host).name == "demo0"
    assert not any(x[0] == "move" for x in host.done)
