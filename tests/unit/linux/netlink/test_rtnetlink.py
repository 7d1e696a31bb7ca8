"""The netlink codec: attributes and frames, both ways, and pyroute2 as the second opinion."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from crishim.linux.netlink import addresses, attribute_shapes, links, rtnetlink

kinds = st.integers(1, attribute_shapes.NLA_TYPE_MASK)
items = st.lists(st.tuples(kinds, st.binary(max_size=40)))


@given(items)
def test_attributes_come_back_as_they_were(given_items: list[tuple[int, bytes]]) -> None:
    """join() and attributes() are each other's inverse; every attribute is padded to four bytes."""
    data = rtnetlink.join(given_items)
    assert len(data) % 4 == 0
    assert list(rtnetlink.attributes(data)) == given_items


@given(st.binary())
def test_any_bytes_are_attributes_or_their_beginning(data: bytes) -> None:
    """A malformed length ends the list; nothing is read beyond the data."""
    found = list(rtnetlink.attributes(data))
    assert sum(4 + len(value) for _, value in found) <= len(data)


@given(st.binary())
def test_any_datagram_splits(data: bytes) -> None:
    """A malformed message ends the datagram."""
    assert sum(16 + len(body) for *_, body in rtnetlink.split(data)) <= len(data)


@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1), st.binary(max_size=40))
    )
)
def test_frames_split_into_what_they_were(messages: list[tuple[int, int, int, bytes]]) -> None:
    """frame() and split() are each other's inverse for bodies padded to four bytes."""
    padded = [(k, f, s, b + bytes(-len(b) % 4)) for k, f, s, b in messages]
    assert list(rtnetlink.split(b"".join(rtnetlink.frame(*m) for m in padded))) == padded


def test_an_error_carries_the_kernels_words() -> None:
    """The extended acknowledgement's text is the OSError's, without it the errno's; zero is no error."""
    original = struct.pack("=IHHII", 16, 18, 0, 1, 0)
    words = rtnetlink.text(rtnetlink.NLMSGERR_ATTR_MSG, "device is busy.")
    said = rtnetlink.failure(
        rtnetlink.NLM_F_ACK_TLVS | rtnetlink.NLM_F_CAPPED, struct.pack("=i", -16) + original + words
    )
    assert said is not None
    assert (said.errno, said.strerror) == (errno.EBUSY, "device is busy")
    bare = rtnetlink.failure(rtnetlink.NLM_F_CAPPED, struct.pack("=i", -17) + original)
    assert isinstance(bare, FileExistsError)
    assert rtnetlink.failure(0, struct.pack("=i", 0) + original) is None


def test_a_link_reads_as_pyroute2_reads_it() -> None:
    """A message made by pyroute2, with nested kind and an altname, is the Link it says."""
    message = ifinfmsg()
    message["index"], message["flags"] = 7, 0x1043
    message["attrs"] = [
        ("IFLA_IFNAME", "demo0"),
        ("IFLA_MTU", 1400),
        ("IFLA_ADDRESS", "02:00:00:00:00:01"),
        ("IFLA_TXQLEN", 99),
        ("IFLA_MASTER", 3),
        ("IFLA_LINK", 8),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth")]}),
        ("IFLA_PROP_LIST", {"attrs": [("IFLA_ALT_IFNAME", "a"), ("IFLA_ALT_IFNAME", "b")]}),
    ]
    message.encode()
    found = links.parse(bytes(message.data[16:]))
    assert (found.index, found.name, found.altnames, found.kind) == (7, "demo0", ("a", "b"), "veth")
    assert (found.mtu, found.mac, found.queue_length) == (1400, bytes.fromhex("020000000001"), 99)
    assert (found.master, found.parent, found.parent_netns) == (3, 8, None)
    assert found.is_up
    assert not found.has_carrier


@pytest.mark.parametrize(("value", "immovable"), [(0, False), (1, True)])
def test_the_value_of_netns_immutable_counts(value: int, immovable: bool) -> None:
    """Every link carries the attribute; only 1 means that it cannot leave."""
    head = struct.pack("=BxHiII", 0, 1, 7, 0, 0)
    assert links.parse(head + rtnetlink.attribute(67, bytes([value]))).immovable is immovable


def test_an_address_reads_as_pyroute2_reads_it() -> None:
    """32-bit flags win over the 8 of the header; label, address and text are as given."""
    message = ifaddrmsg()
    message["family"], message["prefixlen"], message["flags"], message["index"] = 2, 24, 0x80, 7
    message["attrs"] = [
        ("IFA_ADDRESS", "192.0.2.1"),
        ("IFA_LOCAL", "192.0.2.1"),
        ("IFA_LABEL", "demo0:1"),
        ("IFA_FLAGS", 0x280),
    ]
    message.encode()
    found = addresses.parse(bytes(message.data[16:]))
    assert (str(found), found.label, found.flags, found.is_verified) == ("192.0.2.1/24", "demo0:1", 0x280, True)
    renamed = addresses.relabel(found, lambda label: label.replace("demo0", "net1"))
    assert renamed.label == "net1:1"
    assert renamed.essence != found.essence
    assert addresses.relabel(renamed, lambda _: "demo0:1") == found


def test_essence_masks_what_the_kernel_sets() -> None:
    """Tentative, dadfailed, secondary, deprecated and nodad do not make an address another one; noprefixroute does."""
    plain = addresses.Address(family=10, prefix=64, scope=0, flags=0x80, attributes=rtnetlink.attribute(1, bytes(16)))
    for flag, same in ((0x40, True), (0x08, True), (0x01, True), (0x20, True), (0x02, True), (0x200, False)):
        changed = addresses.Address(family=10, prefix=64, scope=0, flags=0x80 | flag, attributes=plain.attributes)
        assert (changed.essence == plain.essence) is same


@given(st.lists(items, min_size=1, max_size=4), st.binary(max_size=3), st.sets(kinds, max_size=3))
def test_a_shape_that_was_seen_says_what_walking_says(
    several: list[list[tuple[int, bytes]]], rest: bytes, left: set[int]
) -> None:
    """Once learned, and beside others of its size, a message gives what its attributes one by one are."""
    messages = [rtnetlink.join(one) + rest for one in several]
    messages += [m[:2] + bytes([m[2] ^ 1]) + m[3:] for m in messages if len(m) > 4]  # the same size, another type
    for message in messages * 2:
        attribute_shapes.learn(message)
    for message in messages:
        walked = attribute_shapes.walk(message)
        assert rtnetlink.attributes(message) == walked
        assert rtnetlink.table(message) == dict(walked)
        kept = [(k, v) for k, v in walked if k not in left]
        assert rtnetlink.attributes(rtnetlink.without(message, frozenset(left))) == kept


def test_only_so_many_shapes_are_kept() -> None:
    """Whoever makes messages of ever new shapes fills no memory."""
    for size in range(2000):
        attribute_shapes.learn(rtnetlink.join([(1, bytes(4 * size % 4096)), (size % 7 + 1, b"")]))
    assert len(attribute_shapes._shapes) <= attribute_shapes.MOST_SHAPES
    assert all(len(alike) <= attribute_shapes.MOST_ALIKE for alike in attribute_shapes._shapes.values())
    attribute_shapes.learn(rtnetlink.join([(1, b"")] * (attribute_shapes.MOST_ATTRIBUTES + 1)))
    assert (4 * (attribute_shapes.MOST_ATTRIBUTES + 1), b"\x04\x00\x01\x00") not in attribute_shapes._shapes
