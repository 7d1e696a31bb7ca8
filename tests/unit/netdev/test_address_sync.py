"""Making a link's addresses equal to a list: what is added, what goes, in which order, and what is said."""

import errno
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.linux.netlink.addresses import (
    IFA_F_DADFAILED,
    IFA_F_NODAD,
    IFA_F_PERMANENT,
    IFA_F_STABLE_PRIVACY,
    IFA_F_TENTATIVE,
    RT_SCOPE_LINK,
    Address,
)
from crishim.netdev import address_sync
from crishim.netdev.records import Captured
from tests.unit.netdev.fake_addresses import GONE, FakeAddresses, address

NETLINK: Any = None
P = IFA_F_PERMANENT
ONE, TWO, THREE = (address(f"192.0.2.{i}/24", P) for i in (1, 2, 3))
SIX, SEVEN, EIGHT = (address(f"2001:db8::{i}/64", P) for i in (6, 7, 8))
TENTATIVE, FAILED = replace(SIX, flags=P | IFA_F_TENTATIVE), replace(SIX, flags=P | IFA_F_DADFAILED)
OWN = address("fe80::1/64", P, scope=RT_SCOPE_LINK)


def test_what_a_pod_is_to_see() -> None:
    """What is there for good and for the world, with labels for the new name."""
    host = Captured(
        index=5,
        name="demo0",
        addresses=(
            address("192.0.2.1/24", P, label="demo0:web"),
            address("192.0.2.2/24", label="demo0"),
            address("192.0.2.3/24", P, scope=RT_SCOPE_LINK),
            SIX,
        ),
    )
    found = address_sync.for_pod(host, "net1")
    assert [(str(a), a.label) for a in found] == [("192.0.2.1/24", "net1:web"), ("2001:db8::6/64", "")]


def test_nothing_is_touched_where_nothing_differs(fake_addresses: FakeAddresses) -> None:
    fake_addresses.found[5] = [ONE, TWO, replace(SIX, flags=P | IFA_F_NODAD)]
    assert address_sync.make_equal(NETLINK, 5, [ONE, TWO, SIX]) == []
    assert address_sync.make_equal(NETLINK, 5, [ONE, TWO, SIX], settle=True) == []
    assert fake_addresses.done == []


@pytest.mark.parametrize("present", [[TWO, ONE], [ONE, TWO, THREE], [ONE], [THREE], []])
def test_ipv4_is_made_anew_if_anything_differs(fake_addresses: FakeAddresses, present: list[Address]) -> None:
    """The last goes first, so that no secondary becomes a primary; the order is the list's in the end."""
    fake_addresses.found[5] = list(present)
    assert address_sync.make_equal(NETLINK, 5, [ONE, TWO]) == []
    assert fake_addresses.found[5] == [ONE, TWO]
    removed = [("remove", str(a)) for a in reversed(present)]
    assert fake_addresses.done == [*removed, ("add", "192.0.2.1/24"), ("add", "192.0.2.2/24")]


@pytest.mark.parametrize(
    ("present", "after"),
    [([THREE, TWO], [THREE, TWO, ONE]), ([TWO, THREE, ONE], [TWO, THREE, ONE]), ([ONE, TWO], [ONE, TWO])],
)
def test_without_pruning_only_what_is_missing_is_added(
    fake_addresses: FakeAddresses, present: list[Address], after: list[Address]
) -> None:
    fake_addresses.found[5] = [*present, SEVEN]
    assert address_sync.make_equal(NETLINK, 5, [ONE, TWO], prune=False) == []
    assert fake_addresses.dump(None, 5) == [*after, SEVEN]
    assert "remove" not in [what for what, _ in fake_addresses.done]


def test_ipv6_one_by_one(fake_addresses: FakeAddresses) -> None:
    """Others go; a verified one is usable at once; with settle the flag for that is off again."""
    fake_addresses.found[5] = [SEVEN]
    assert address_sync.make_equal(NETLINK, 5, [SIX]) == []
    assert fake_addresses.done == [("remove", "2001:db8::7/64"), ("add nodad", "2001:db8::6/64")]
    fake_addresses.found[6], fake_addresses.done = [], []
    assert address_sync.make_equal(NETLINK, 6, [SIX, TENTATIVE], settle=True) == []
    assert fake_addresses.done == [
        ("add nodad", "2001:db8::6/64"),
        ("settle", "2001:db8::6/64"),
        ("add", "2001:db8::6/64"),
    ]


@pytest.mark.parametrize(
    ("present", "moved"),
    [
        ([EIGHT, SEVEN, SIX], [SIX, SEVEN, EIGHT]),
        ([SIX, EIGHT, SEVEN], [SEVEN, EIGHT]),
        ([SEVEN, EIGHT], [SIX, SEVEN, EIGHT]),
        ([SIX, SEVEN], [EIGHT]),
        ([replace(SIX, flags=P | IFA_F_TENTATIVE), SEVEN, EIGHT], [SIX, SEVEN, EIGHT]),
        ([SIX, SEVEN, EIGHT], []),
    ],
)
def test_the_order_of_ipv6(fake_addresses: FakeAddresses, present: list[Address], moved: list[Address]) -> None:
    """crun adds the newest first. What is in its place stays; with no pruning, what a pod has ordered stays so."""
    fake_addresses.found[5] = list(present)
    assert address_sync.make_equal(NETLINK, 5, [SIX, SEVEN, EIGHT]) == []
    assert [str(a) for a in fake_addresses.found[5]] == [str(a) for a in (SIX, SEVEN, EIGHT)]
    assert [on for what, on in fake_addresses.done if what == "add nodad"] == [str(a) for a in moved]
    fake_addresses.found[6], fake_addresses.done = [EIGHT, SEVEN, SIX], []
    assert address_sync.make_equal(NETLINK, 6, [SIX, SEVEN, EIGHT], prune=False) == []
    assert fake_addresses.done == []


@pytest.mark.parametrize(
    ("present", "wanted", "done"),
    [
        (TENTATIVE, SIX, ["remove", "add nodad"]),
        (FAILED, SIX, ["remove", "add nodad"]),
        (TENTATIVE, TENTATIVE, []),
        (SIX, TENTATIVE, []),
    ],
)
def test_detection_that_has_not_ended(
    fake_addresses: FakeAddresses, present: Address, wanted: Address, done: list[str]
) -> None:
    """One that was verified before is put there anew, without detection; its own detection is left to run."""
    fake_addresses.found[5] = [present]
    assert address_sync.make_equal(NETLINK, 5, [wanted]) == []
    assert [what for what, _ in fake_addresses.done] == done


def test_what_the_kernel_makes_by_itself_stays(fake_addresses: FakeAddresses) -> None:
    """Also a link-local address that does not say so, unless it is one of the list."""
    made = replace(SEVEN, flags=P | IFA_F_STABLE_PRIVACY)
    fake_addresses.found[5] = [made, OWN]
    assert address_sync.make_equal(NETLINK, 5, []) == []
    assert fake_addresses.found[5] == [made, OWN]
    listed = replace(OWN, flags=P | IFA_F_TENTATIVE)
    fake_addresses.found[5] = [listed]
    address_sync.make_equal(NETLINK, 5, [OWN])
    assert [what for what, _ in fake_addresses.done] == ["remove", "add nodad"]
    narrow = address("192.0.2.9/24", P, scope=RT_SCOPE_LINK)
    fake_addresses.found[5] = [narrow]
    address_sync.make_equal(NETLINK, 5, [])
    assert fake_addresses.found[5] == []


def test_what_is_refused_is_said(fake_addresses: FakeAddresses) -> None:
    """IPv4 each by itself; IPv6 in one sentence, with the likely reason."""
    fake_addresses.refuse = {"192.0.2.1/24": errno.ENOBUFS}
    assert address_sync.make_equal(NETLINK, 5, [ONE, TWO]) == [
        "192.0.2.1/24 was not carried over: No buffer space available"
    ]
    assert fake_addresses.found[5] == [TWO]
    off = "was not carried over: IPv6 is off there (disable_ipv6, or an MTU below 1280)"
    for error, said in ((errno.EACCES, off), (errno.ENOBUFS, "was not carried over: No buffer space available")):
        fake_addresses.refuse = {"add nodad": error}
        found = address_sync.make_equal(NETLINK, 6, [SIX, SEVEN])
        assert found == [f"2001:db8::6/64, 2001:db8::7/64 {said}"]


def test_the_first_refusal_is_the_reason(fake_addresses: FakeAddresses) -> None:
    fake_addresses.refuse = {str(SIX): errno.ENOBUFS, str(SEVEN): errno.EACCES}
    said = "2001:db8::6/64, 2001:db8::7/64 was not carried over: No buffer space available"
    assert address_sync.make_equal(NETLINK, 5, [SIX, SEVEN]) == [said]


def test_an_address_that_has_gone_by_itself(fake_addresses: FakeAddresses) -> None:
    """With its primary, for one; any other failure to take an address off is an error."""
    fake_addresses.found[5] = [TWO]
    fake_addresses.refuse = {"remove": GONE}
    assert address_sync.make_equal(NETLINK, 5, [ONE]) == []
    fake_addresses.refuse = {"remove": errno.EPERM}
    fake_addresses.found[5] = [TWO]
    with pytest.raises(OSError, match="Operation not permitted"):
        address_sync.make_equal(NETLINK, 5, [ONE])


def test_what_has_not_been_verified() -> None:
    """Of the wanted ones, whatever else is there."""
    other = replace(SEVEN, flags=P | IFA_F_TENTATIVE)
    assert address_sync.unverified([TENTATIVE, other, ONE], [SIX, ONE]) == [TENTATIVE]
    assert address_sync.unverified([SIX], [SIX]) == []
    assert address_sync.dad_failed(FAILED)
    assert not address_sync.dad_failed(TENTATIVE)
