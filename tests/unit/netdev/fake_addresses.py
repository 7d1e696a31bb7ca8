"""Addresses of made-up links, by ifindex, and refusals on demand."""

import errno
import ipaddress
import os
import socket
from collections import defaultdict

import pytest
from msgspec.structs import replace

from crishim.linux.netlink import addresses
from crishim.linux.netlink.addresses import IFA_ADDRESS, IFA_F_NODAD, IFA_LABEL, IFA_LOCAL, Address
from crishim.linux.netlink.rtnetlink import attribute, text


def address(words: str, flags: int = 0, *, label: str = "", scope: int = 0) -> Address:
    """ "192.0.2.7/24" as the kernel would tell it."""
    interface = ipaddress.ip_interface(words)
    packed = interface.ip.packed
    found = attribute(IFA_ADDRESS, packed)
    if interface.version == 4:
        found += attribute(IFA_LOCAL, packed)
    if label:
        found += text(IFA_LABEL, label)
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    return Address(family=family, prefix=interface.network.prefixlen, scope=scope, flags=flags, attributes=found)


class FakeAddresses:
    """found: by ifindex. done: what was changed. refuse: by operation or address, the errno it fails with."""

    def __init__(self) -> None:
        self.found: dict[int, list[Address]] = defaultdict(list)
        self.done: list[tuple[str, str]] = []
        self.refuse: dict[str, int] = {}

    def dump(self, _: object, index: int) -> list[Address]:
        return sorted(self.found[index], key=lambda a: a.family)  # as addresses.py does: IPv4 first

    def add(self, _: object, index: int, new: Address, *, nodad: bool = False) -> None:
        self._act("add nodad" if nodad else "add", new)
        self.found[index].append(replace(new, flags=new.flags | (IFA_F_NODAD if nodad else 0)))

    def settle(self, _: object, index: int, known: Address) -> None:
        self._act("settle", known)
        self.found[index] = [known if str(a) == str(known) else a for a in self.found[index]]

    def remove(self, _: object, index: int, known: Address) -> None:
        self._act("remove", known)
        self.found[index] = [a for a in self.found[index] if str(a) != str(known)]

    def _act(self, what: str, on: Address) -> None:
        refused = self.refuse.get(what) or self.refuse.get(str(on))
        if refused:
            raise OSError(refused, os.strerror(refused))
        self.done.append((what, str(on)))


GONE = errno.EADDRNOTAVAIL


@pytest.fixture
def fake_addresses(monkeypatch: pytest.MonkeyPatch) -> FakeAddresses:
    """addresses.py works on these."""
    made = FakeAddresses()
    for name in ("dump", "add", "settle", "remove"):
        monkeypatch.setattr(addresses, name, getattr(made, name))
    return made
