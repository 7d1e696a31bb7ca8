"""Addresses of a link, kept with all attributes so that they can be restored. rtnetlink(7), if_addr.h.

IPv4 has labels, broadcast addresses and an order of primary and secondary addresses; IPv6 runs duplicate address
detection (DAD) on each new address, and lists the newest first.
"""

import ipaddress
import os
import struct
from collections.abc import Callable, Collection

import msgspec

from crishim.linux.netlink.links import AF_INET, AF_INET6
from crishim.linux.netlink.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Rtnetlink,
    attributes,
    join,
    number,
    table,
)

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_CACHEINFO = 1, 2, 3, 4, 6
IFA_FLAGS, IFA_RT_PRIORITY, IFA_PROTO = 8, 9, 11
IFA_F_SECONDARY, IFA_F_NODAD, IFA_F_OPTIMISTIC, IFA_F_DADFAILED = 0x01, 0x02, 0x04, 0x08
IFA_F_DEPRECATED, IFA_F_TENTATIVE, IFA_F_PERMANENT = 0x20, 0x40, 0x80
IFA_F_STABLE_PRIVACY = 0x800
IFA_F_TEMPORARY = IFA_F_SECONDARY  # the same bit, in IPv6
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
IFAPROT_KERNEL_RA, IFAPROT_KERNEL_LL = 2, 3

_INFO = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags (8 bits), scope, index
_CACHEINFO = struct.Struct("=IIII")  # struct ifa_cacheinfo: preferred, valid (seconds), created, updated
FOREVER = 0xFFFFFFFF
_STATE = IFA_F_SECONDARY | IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_TENTATIVE | IFA_F_OPTIMISTIC
_STATE |= IFA_F_STABLE_PRIVACY  # flags the kernel sets by itself: never written, never compared


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """One address of a link. attributes: those of RTM_NEWADDR as read, rtnetlink(7)."""

    family: int  # AF_INET, AF_INET6
    prefix: int  # length
    scope: int  # RT_SCOPE_*
    flags: int  # IFA_F_*, 32 bits
    attributes: bytes

    def __str__(self) -> str:
        """As `ip address` shows it: "192.0.2.7/24", "2001:db8::7/64"."""
        return f"{self.ip}/{self.prefix}"

    @property
    def fields(self) -> dict[int, bytes]:
        return table(self.attributes)

    @property
    def ip(self) -> str:
        fields = self.fields
        return str(ipaddress.ip_address(fields.get(IFA_LOCAL) or fields[IFA_ADDRESS]))

    @property
    def label(self) -> str:
        return os.fsdecode(self.fields.get(IFA_LABEL, b"").rstrip(b"\0"))

    @property
    def is_verified(self) -> bool:
        """Usable: duplicate address detection neither runs nor failed."""
        return not self.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)

    @property
    def is_automatic(self) -> bool:
        """Made by the kernel, which will make it again."""
        proto = number(self.fields.get(IFA_PROTO, b""))
        made = proto in (IFAPROT_KERNEL_RA, IFAPROT_KERNEL_LL) or bool(self.flags & IFA_F_STABLE_PRIVACY)
        return self.family == AF_INET6 and (made or bool(self.flags & IFA_F_TEMPORARY))

    @property
    def essence(self) -> tuple[object, ...]:
        """Key that is equal for two addresses that differ in their state only: NODAD is masked."""
        fields = self.fields
        kept = (IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_RT_PRIORITY, IFA_PROTO)
        values = tuple(fields.get(kind, b"") for kind in kept)
        return (self.family, self.prefix, self.scope, self.flags & ~_STATE & ~IFA_F_NODAD, values)


def parse(body: bytes) -> Address:
    """An Address from the body of an RTM_NEWADDR message."""
    family, prefix, flags, scope, _ = _INFO.unpack_from(body)
    behind = body[_INFO.size :]
    wide = table(behind).get(IFA_FLAGS)
    return Address(
        family=family,
        prefix=prefix,
        scope=scope,
        flags=flags if wide is None else number(wide),
        attributes=behind,
    )


def dump(netlink: Rtnetlink, index: int) -> list[Address]:
    """Addresses of one link, in the order in which adding them makes the same list."""
    return dump_each(netlink, [index])[index]


def dump_each(netlink: Rtnetlink, indexes: Collection[int]) -> dict[int, list[Address]]:
    """dump() of several links, read at once."""
    only = next(iter(indexes)) if len(indexes) == 1 else 0
    found: dict[int, list[Address]] = {index: [] for index in indexes}
    newest_first: dict[int, list[Address]] = {index: [] for index in indexes}
    for message in netlink.dump(RTM_GETADDR, _INFO.pack(0, 0, 0, 0, only)):
        family, _, _, _, index = _INFO.unpack_from(message.body)
        if message.type == RTM_NEWADDR and index in found:
            (newest_first if family == AF_INET6 else found)[index].append(parse(message.body))
    return {index: found[index] + newest_first[index][::-1] for index in found}


def in_use(netlink: Rtnetlink) -> set[str]:
    """The addresses of all links: "10.1.2.3", "fd00::1"."""
    messages = netlink.dump(RTM_GETADDR, _INFO.pack(0, 0, 0, 0, 0))
    return {parse(message.body).ip for message in messages if message.type == RTM_NEWADDR}


def aged(address: Address, seconds: float) -> Address | None:
    """The address with its lifetimes reduced by these seconds; None if it has expired."""
    value = address.fields.get(IFA_CACHEINFO)
    if value is None or address.flags & IFA_F_PERMANENT:
        return address
    preferred, valid, created, updated = _CACHEINFO.unpack_from(value)
    if valid != FOREVER:
        valid = max(valid - int(seconds), 0)
    if preferred != FOREVER:
        preferred = max(preferred - int(seconds), 0)
    if not valid:
        return None
    left = _CACHEINFO.pack(preferred, valid, created, updated)
    items = [(k, left if k == IFA_CACHEINFO else v) for k, v in attributes(address.attributes)]
    return msgspec.structs.replace(address, attributes=join(items))


def relabel(address: Address, rename: Callable[[str], str]) -> Address:
    """The address with its IPv4 label changed; others are returned as they are."""
    if address.family != AF_INET or not address.label:
        return address
    label = os.fsencode(rename(address.label)) + b"\0"
    items = [(kind, label if kind == IFA_LABEL else value) for kind, value in attributes(address.attributes)]
    return msgspec.structs.replace(address, attributes=join(items))


def _body(index: int, address: Address, flags: int) -> bytes:
    skipped = {IFA_FLAGS} | ({IFA_CACHEINFO} if _is_forever(address) else set())
    items = [(kind, value) for kind, value in attributes(address.attributes) if kind not in skipped]
    head = _INFO.pack(address.family, address.prefix, flags & 0xFF, address.scope, index)
    return head + join([*items, (IFA_FLAGS, struct.pack("=I", flags))])


def _is_forever(address: Address) -> bool:
    return bool(address.flags & IFA_F_PERMANENT) and not address.flags & IFA_F_DEPRECATED


def add(netlink: Rtnetlink, index: int, address: Address, *, nodad: bool = False) -> None:
    """Add an address as it was read, lifetimes included; nodad makes it usable at once. Raises OSError.

    EEXIST: it is there. EACCES: disable_ipv6 is set. ENODEV, EINVAL: no IPv6 on this link (MTU below 1280).
    """
    flags = address.flags & ~_STATE | (IFA_F_NODAD if nodad else 0)
    netlink.request(RTM_NEWADDR, _body(index, address, flags), NLM_F_CREATE | NLM_F_EXCL)


def settle(netlink: Rtnetlink, index: int, address: Address) -> None:
    """Clear the NODAD flag of an address that was added with it; detection is not run."""
    netlink.request(RTM_NEWADDR, _body(index, address, address.flags & ~_STATE), NLM_F_REPLACE)


def remove(netlink: Rtnetlink, index: int, address: Address) -> None:
    """Remove an address. Raises OSError (EADDRNOTAVAIL: it is not there, or was removed with its primary)."""
    fields = address.fields
    kept = [(kind, fields[kind]) for kind in (IFA_LOCAL, IFA_ADDRESS) if kind in fields]
    netlink.request(RTM_DELADDR, _INFO.pack(address.family, address.prefix, 0, address.scope, index) + join(kept))
