"""Links of made-up network namespaces: the kernel's answers as rtnetlink gives them, and its refusals on demand."""

import errno
import os
from typing import Any

import msgspec
import pytest

from crishim.linux import sysfs
from crishim.linux.netlink import links
from crishim.linux.netlink.links import IFF_UP, Link
from crishim.netdev.records import Attachment, Captured, Identity, Mover, PodRef, State


class FakeEnd:
    """One namespace. Stands for an End and for its netlink socket, sysfs and descriptor.

    refuse: by operation, the errno it fails with. done: what was changed, in order.
    """

    def __init__(self, *found: Link, inode: int = 1) -> None:
        self.links = {link.index: link for link in found}
        self.devices = {link.index: 1000 + link.index for link in found}  # their directories in sysfs
        self.inode = inode
        self.refuse: dict[str, int] = {}
        self.done: list[tuple[Any, ...]] = []
        self.entered = 0
        self.netlink: Any = self
        self.sysfs: Any = self
        self.fd: Any = self

    def enter(self) -> None:
        self.entered += 1

    def find(self, key: int | str) -> Link | None:
        return next((x for x in self.links.values() if key in (x.index, *x.names)), None)

    def replace(self, index: int, **fields: Any) -> None:
        if index not in self.links:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        self.links[index] = msgspec.structs.replace(self.links[index], **fields)

    def act(self, *what: Any) -> None:
        refused = self.refuse.get(what[0])
        if refused:
            raise OSError(refused, os.strerror(refused))
        self.done.append(what)


def _move(end: FakeEnd, index: int, to: FakeEnd, name: str, *, up: bool, new_index: int | None = None) -> None:
    end.act("move", index, name, up, new_index)
    if new_index is not None and new_index in to.links:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
    link, device = end.links.pop(index), end.devices.pop(index)
    there = new_index or (index if index not in to.links else max(to.links) + 1)
    flags = link.flags | IFF_UP if up else link.flags & ~IFF_UP
    to.links[there] = msgspec.structs.replace(link, index=there, name=name, flags=flags)
    to.devices[there] = device


def _change(end: FakeEnd, index: int, **fields: Any) -> None:
    if fields:
        end.act("change", index, fields)
        end.replace(index, **fields)


def _set_flags(end: FakeEnd, index: int, flags: int, mask: int = IFF_UP) -> None:
    end.act("flags", index, flags & mask, mask)
    end.replace(index, flags=end.links[index].flags & ~mask | flags & mask)


def _add_altname(end: FakeEnd, index: int, name: str) -> None:
    end.act("add altname", index, name)
    end.replace(index, altnames=(*end.links[index].altnames, name))


def _remove_altname(end: FakeEnd, index: int, name: str) -> None:
    end.act("remove altname", index, name)
    if name not in end.links[index].altnames:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    end.replace(index, altnames=tuple(x for x in end.links[index].altnames if x != name))


def _device_inode(end: FakeEnd, name: str, index: int) -> int:
    link = end.links.get(index)
    return end.devices[index] if link is not None and link.name == name else 0


@pytest.fixture
def fake_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """links.py and sysfs.py work on FakeEnds."""
    for name, instead in (
        ("get", lambda end, key: end.find(key)),
        ("index_of", lambda end, key: found.index if (found := end.find(key)) else 0),
        ("dump", lambda end: list(end.links.values())),
        ("move", _move),
        ("change", _change),
        ("set_flags", _set_flags),
        ("add_altname", _add_altname),
        ("remove_altname", _remove_altname),
    ):
        monkeypatch.setattr(links, name, instead)
    monkeypatch.setattr(sysfs, "device_inode", _device_inode)


def attachment(**fields: Any) -> Attachment:
    """Of demo0, a veth with ifindex 5 and inode 1005, as net1 in pod-a."""
    known: dict[str, Any] = {
        "id": "0123456789abcdef",
        "pod": PodRef(id="pod-a", netns="/run/a", title="default/a"),
        "netns_inode": 2,
        "state": State.READY,
        "mover": Mover.BUILTIN,
        "sources": ("annotation",),
        "wanted": "net1",
        "name": "net1",
        "host": Captured(index=5, name="demo0", kind="veth"),
        "identity": Identity(inode=1005, kind="veth"),
        "index": 5,
    }
    return Attachment(**known | fields)


def veth(index: int, name: str, **fields: Any) -> Link:
    known: dict[str, Any] = {"index": index, "name": name, "kind": "veth"}
    return Link(**known | fields)
