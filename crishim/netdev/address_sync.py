"""IP addresses of a device: which of the host's it has in its pod, and making a link's addresses equal to a list.

Duplicate address detection: an address that was verified before is added with NODAD, so that it is usable at once, also
without carrier. Others go through detection (duplicate_detection.py waits for it, with a timeout).
"""

import errno
from collections.abc import Sequence
from itertools import takewhile

from crishim.linux.netlink import addresses
from crishim.linux.netlink.addresses import IFA_F_DADFAILED, IFA_F_PERMANENT, RT_SCOPE_UNIVERSE, Address
from crishim.linux.netlink.links import AF_INET, AF_INET6
from crishim.linux.netlink.rtnetlink import Rtnetlink
from crishim.netdev.names import relabel
from crishim.netdev.records import Captured

NO_IPV6 = (errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENODEV, errno.EOPNOTSUPP)


def for_pod(host: Captured, name: str) -> list[Address]:
    """The addresses that the OCI runtime specification moves with a device (permanent, global), labelled for name."""
    chosen = [a for a in host.addresses if a.flags & IFA_F_PERMANENT and a.scope == RT_SCOPE_UNIVERSE]
    return [addresses.relabel(a, lambda label: relabel(label, name)) for a in chosen]


def make_equal(
    netlink: Rtnetlink, index: int, wanted: Sequence[Address], *, prune: bool = True, settle: bool = False
) -> list[str]:
    """Give a link these addresses. Returns one sentence for each that failed.

    prune: remove others, except those the kernel makes by itself. settle: clear the NODAD flag again.
    """
    present = [a for a in addresses.dump(netlink, index) if not a.is_automatic and _may_touch(a, wanted)]
    wanted4, present4 = ([a for a in x if a.family == AF_INET] for x in (wanted, present))
    wanted6, present6 = ([a for a in x if a.family == AF_INET6] for x in (wanted, present))
    problems = _make_equal_ipv4(netlink, index, wanted4, present4, prune)
    return problems + _make_equal_ipv6(netlink, index, wanted6, present6, prune, settle)


def _may_touch(address: Address, wanted: Sequence[Address]) -> bool:
    """False for a link-local IPv6 address that is not wanted: the kernel made it (before 5.18 IFA_PROTO is missing)."""
    if address.family != AF_INET6 or address.scope == RT_SCOPE_UNIVERSE:
        return True
    return any(address.essence == a.essence for a in wanted)


def _make_equal_ipv4(
    netlink: Rtnetlink, index: int, wanted: list[Address], present: list[Address], prune: bool
) -> list[str]:
    """If anything differs, add all again: their order decides which is a subnet's primary address."""
    there = [a.essence for a in present]
    goals = [a.essence for a in wanted]
    if there == goals or (not prune and set(goals) <= set(there)):
        return []
    if prune:
        for address in reversed(present):
            _remove(netlink, index, address)
        there = []
    problems = []
    for address in wanted:
        if address.essence in there:
            continue
        try:
            addresses.add(netlink, index, address)
        except OSError as error:
            problems.append(f"{address} was not carried over: {error.strerror}")
    return problems


def _make_equal_ipv6(
    netlink: Rtnetlink, index: int, wanted: list[Address], present: list[Address], prune: bool, settle: bool
) -> list[str]:
    """The order matters for source address selection: with prune, all from the first one out of order on are added
    again."""
    there = {a.essence: a for a in present}
    if prune:
        goals = {a.essence for a in wanted}
        for essence in there.keys() - goals:
            _remove(netlink, index, there.pop(essence))
        in_place = takewhile(lambda pair: _is_right(*pair), zip(there.values(), wanted, strict=False))
        right = {a.essence for _, a in in_place}
    else:
        right = {a.essence for a in wanted if a.essence in there and _is_right(there[a.essence], a)}
    refused: list[tuple[Address, OSError]] = []
    for address in wanted:
        if address.essence in right:
            continue
        try:
            if address.essence in there:
                _remove(netlink, index, there[address.essence])
            addresses.add(netlink, index, address, nodad=address.is_verified)
            if settle and address.is_verified:
                addresses.settle(netlink, index, address)
        except OSError as error:
            refused.append((address, error))
    return _explain(refused)


def _is_right(now: Address, wanted: Address) -> bool:
    return now.essence == wanted.essence and (now.is_verified or not wanted.is_verified)


def _remove(netlink: Rtnetlink, index: int, address: Address) -> None:
    try:
        addresses.remove(netlink, index, address)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:  # gone with its primary address
            raise


def _explain(refused: list[tuple[Address, OSError]]) -> list[str]:
    if not refused:
        return []
    names = ", ".join(str(a) for a, _ in refused)
    error = refused[0][1]
    why = "IPv6 is off there (disable_ipv6, or an MTU below 1280)" if error.errno in NO_IPV6 else str(error.strerror)
    return [f"{names} was not carried over: {why}"]


def unverified(present: Sequence[Address], wanted: Sequence[Address]) -> list[Address]:
    """Of the wanted addresses, those whose detection still runs or has failed."""
    goals = {a.essence for a in wanted}
    return [a for a in present if a.essence in goals and not a.is_verified]


def dad_failed(address: Address) -> bool:
    return bool(address.flags & IFA_F_DADFAILED)
