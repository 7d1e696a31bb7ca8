"""Which link is an attachment's device: recognized by what a pod cannot change or forge.

A pod with NET_ADMIN can give a link any name, altname (ours too) and MAC and, once the device has left its namespace,
also the device's ifindex, kind and peer. So these only tell which link to check first. Proof is one of:

    the same kernel device      its directory in sysfs has the inode it had on the host (linux/sysfs.py)
    the same hardware           bus, place on the bus, port and permanent MAC: also after a hot-unplug or when its
                                driver was reloaded. A pod cannot make a device that has a bus.

A virtual device that was deleted and made again is another device.
"""

import errno
import os
from collections.abc import Iterable

from crishim.linux import sysfs
from crishim.linux.netlink import links
from crishim.linux.netlink.links import Link
from crishim.linux.netns_thread import Netns
from crishim.netdev.records import Attachment, Identity

RENAMED = 5  # times in a row that a link may be renamed while it is read


def identify(link: Link, netns: Netns) -> Identity:
    """A link's identity, read in the namespace where it is. Raises OSError, ENODEV if it is not there any more.

    A pod or udev may rename it at any time: what was read under a name counts only if the ifindex matches.
    """
    found: Link | None = link
    for _ in range(RENAMED):
        inode = sysfs.device_inode(netns.sysfs, found.name, link.index) if found else 0
        if inode:
            return Identity(
                inode=inode,
                kind=link.kind,
                bus=link.bus,
                bus_device=link.bus_device,
                port=link.port,
                permanent_mac=link.permanent_mac,
            )
        found = links.get(netns.netlink, link.index)
    raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), link.name)


def same(known: Identity, found: Identity) -> bool:
    """Whether two identities are of one device."""
    if known.kind != found.kind:
        return False
    return (known.inode != 0 and known.inode == found.inode) or same_hardware(known, found)


def is_hardware(identity: Identity) -> bool:
    """Whether it has a bus, a place on it and a permanent MAC: such a device outlives every namespace."""
    return bool(identity.bus and identity.bus_device and identity.permanent_mac)


def same_hardware(known: Identity, found: Identity) -> bool:
    here, there = ((i.bus, i.bus_device, i.permanent_mac, i.port) for i in (known, found))
    return is_hardware(known) and here == there


def is_device(attachment: Attachment, link: Link, netns: Netns) -> bool:
    """Whether a link, read in this namespace, is the attachment's device."""
    known = attachment.identity
    if known == Identity():  # journalled by a daemon that did not know identities
        was = attachment.host
        near = link.index in (attachment.index, was.index) or attachment.altname in link.names
        return near and (link.kind, link.parent) == (was.kind, was.parent)
    if link.kind != known.kind:
        return False
    try:
        return same(known, identify(link, netns))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return False
        raise


def looks_like(attachment: Attachment, link: Link) -> bool:
    """Whether a link, known from a notification only, has our altname or is the hardware and should be checked."""
    seen = Identity(bus=link.bus, bus_device=link.bus_device, port=link.port, permanent_mac=link.permanent_mac)
    return attachment.altname in link.altnames or same_hardware(attachment.identity, seen)


def find_in_pod(attachment: Attachment, pod: Netns) -> Link | None:
    """The attachment's device in the pod, whatever it is called there; None if it is not there. Raises OSError."""
    return _find(attachment, pod, (attachment.index, attachment.altname))


def find_on_host(attachment: Attachment, host: Netns) -> Link | None:
    """The attachment's device on the host, whatever it is called there; None if it is not there. Raises OSError."""
    return _find(attachment, host, (attachment.altname, attachment.host.index, attachment.host.name))


def find_by(attachment: Attachment, netns: Netns, likely: Iterable[int | str]) -> Link | None:
    """The attachment's device, if it has one of these ifindexes, names or altnames here. Raises OSError."""
    for key in likely:
        link = links.get(netns.netlink, key) if key else None
        if link is not None and is_device(attachment, link, netns):
            return link
    return None


def _find(attachment: Attachment, netns: Netns, likely: Iterable[int | str]) -> Link | None:
    found = find_by(attachment, netns, likely)
    if found is not None:
        return found
    return next((x for x in links.dump(netns.netlink) if is_device(attachment, x, netns)), None)


def find_impostor(attachment: Attachment, netns: Netns) -> Link | None:
    """A link that has our altname and is not the device: a pod may give the altname to any link."""
    link = links.get(netns.netlink, attachment.altname)
    return link if link is not None and not is_device(attachment, link, netns) else None
