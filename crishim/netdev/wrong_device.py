"""Returns a host device that the OCI runtime moved by mistake: it moves by name, which another link may have by then.
The right device is known by its identity and stays on the host. The link of that name in the pod is returned if it was
on the host when the move was planned; otherwise it is one that the pod made.
"""

import logging
import os

from crishim.errors import CrishimError, Kind
from crishim.linux.netlink import addresses, links
from crishim.linux.netlink.links import Link
from crishim.linux.netns_thread import Netns
from crishim.netdev import address_sync, names
from crishim.netdev.identity import is_device
from crishim.netdev.records import Attachment

log = logging.getLogger("crishim.netdev")


def entries(netns: Netns) -> dict[str, int]:
    """The inode of each device's entry in sysfs, by name; renames and moves do not change it. 1 us each."""
    directory = os.open("class/net", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=netns.sysfs)
    try:
        with os.scandir(directory) as found:
            return {entry.name: entry.inode() for entry in found}
    finally:
        os.close(directory)


def send_back(attachment: Attachment, was_on_host: frozenset[int], host: Netns, pod: Netns) -> None:
    """Return the host's device that is in the pod under the attachment's name and is not the attachment's.

    Raises ABORTED if there was one, so that the caller gives up and may try again; nothing happens if there was none.
    """
    link = links.get(pod.netlink, attachment.name)
    if link is None or is_device(attachment, link, pod) or entries(pod).get(link.name) not in was_on_host:
        return
    name = _move_to_host(link, attachment, host, pod)
    text = f"device {attachment.device} was renamed while it was given to pod {attachment.pod}"
    log.error(
        f"{text}: the OCI runtime took another one of that name; it is back as {name}, with what that left of it",
        extra={"device": attachment.device, "returned": name, "pod": attachment.pod.id},
    )
    raise CrishimError(Kind.ABORTED, text, device=attachment.device, pod=attachment.pod.id)


def _move_to_host(link: Link, attachment: Attachment, host: Netns, pod: Netns) -> str:
    """Move it back under the name the runtime found, with the addresses it has in the pod. Raises OSError."""
    carried = [a for a in addresses.dump(pod.netlink, link.index) if not a.is_automatic]
    name = attachment.device
    if links.get(host.netlink, name) is not None:
        name = names.fallback(name, attachment.id, lambda x: links.get(host.netlink, x) is not None)
    links.move(pod.netlink, link.index, host.fd, name, up=link.is_up)
    found = links.get(host.netlink, name)
    if found is not None:
        wanted = [addresses.relabel(a, lambda label: names.relabel(label, name)) for a in carried]
        for problem in address_sync.make_equal(host.netlink, found.index, wanted, settle=True):
            log.warning(problem, extra={"device": name})
    return name
