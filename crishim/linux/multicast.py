"""Multicast on a link: filters a user set (`ip maddress add`), and the groups that programs joined.

Read from /proc/net, for all links of the namespace that this thread is in. netdevice(7), SIOCADDMULTI.
"""

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Collection

from crishim.linux import proc_files

SIOCADDMULTI, SIOCDELMULTI = 0x8931, 0x8932
_NET = "/proc/thread-self/net"
# Joined by the kernel itself, with its addresses and settings: 224.0.0.1; ff01::/16, ff02::1, ff02::2, ff02::6a (all
# snoopers), ff05::2, and the solicited-node groups ff02::1:ff00:0/104.
_AUTOMATIC4 = "010000E0"
_AUTOMATIC6 = ("ff01", "ff02" + "0" * 18 + "01ff", *(f"{p}{0:026}{n}" for p, n in (("ff02", "01"), ("ff02", "02"))))
_AUTOMATIC6 += ("ff02" + "0" * 26 + "6a", "ff05" + "0" * 26 + "02")


def _lines(file: str) -> list[str]:
    try:
        text = proc_files.read(f"{_NET}/{file}").decode(errors="surrogateescape")  # a link may be called anything
    except FileNotFoundError:
        return []  # no IPv6
    return [line for line in text.split("\n") if line]


def filters(indexes: Collection[int]) -> dict[int, tuple[bytes, ...]]:
    """Link-layer addresses a user set, by ifindex: those with a count of their own in dev_mcast."""
    found: dict[int, tuple[bytes, ...]] = dict.fromkeys(indexes, ())
    for line in _lines("dev_mcast"):
        index, _, _, by_user, address = line.split()
        if int(index) in found and int(by_user):
            found[int(index)] += (bytes.fromhex(address),)
    return found


def groups(names: Collection[str]) -> dict[str, frozenset[str]]:
    """IP groups joined by programs, by link name: "239.1.1.1"."""
    found: dict[str, set[str]] = {name: set() for name in names}
    name = ""
    for line in _lines("igmp")[1:]:
        words = line.split()
        if not line.startswith("\t"):
            name = words[1].removesuffix(":")
        elif name in found and words[0] != _AUTOMATIC4:
            found[name].add(str(ipaddress.ip_address(bytes.fromhex(words[0])[::-1])))
    for line in _lines("igmp6"):
        _, name, address, *_ = line.split()
        if name in found and not address.startswith(_AUTOMATIC6):
            found[name].add(str(ipaddress.ip_address(bytes.fromhex(address))))
    return {name: frozenset(joined) for name, joined in found.items()}


def change_filter(name: str, address: bytes, *, add: bool) -> None:
    """Set or remove a filter of a link of this thread's namespace. Raises OSError."""
    request = struct.pack("=16sH14s8x", name.encode(errors="surrogateescape"), socket.AF_UNSPEC, address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        fcntl.ioctl(made, SIOCADDMULTI if add else SIOCDELMULTI, request)
