"""Network namespaces that a pod made and moved its devices into: held open from before its processes are killed until
the devices are returned.

Such a namespace ends with its last process, and a virtual device with the namespace; an open descriptor keeps both.
The namespaces of processes and mounts are searched (net_namespaces.places); devices are recognized by identity.py,
which trusts nothing in there.
"""

import contextlib
import os
from collections.abc import Sequence

from crishim.linux import net_namespaces
from crishim.linux.netns_thread import Netns
from crishim.netdev.identity import find_in_pod, find_on_host
from crishim.netdev.records import Attachment, State

MOST = 64  # namespaces held for a pod, which can make any number
SOUGHT = frozenset({State.MOVED, State.READY, State.RETURNING, State.LOST})


class NestedNamespaces:
    """The held namespaces, by pod. Not thread-safe."""

    def __init__(self) -> None:
        self._held: dict[str, dict[int, int]] = {}  # pod id -> inode -> descriptor

    def handles(self, pod_id: str) -> tuple[str, ...]:
        """Paths of the held namespaces, valid until drop()."""
        return tuple(f"/proc/self/fd/{fd}" for fd in self._held.get(pod_id, {}).values())

    def keep(self, pod_id: str, found: dict[int, int]) -> list[int]:
        """Hold what search() found. Returns the inodes of those that were not held before."""
        held = self._held.setdefault(pod_id, {})
        new = [inode for inode in found if inode not in held][: MOST - len(held)]
        for inode, fd in found.items():
            if inode in new:
                held[inode] = fd
            else:
                os.close(fd)
        return new

    def drop(self, pod_id: str) -> None:
        for fd in self._held.pop(pod_id, {}).values():
            os.close(fd)


def search(attachments: Sequence[Attachment], host: Netns, pod: Netns | None = None) -> dict[int, int]:
    """Descriptors, by inode, of namespaces with devices that are neither in their pod nor on the host. Raises OSError.

    The thread may be in any namespace afterwards.
    """
    left = [a for a in attachments if a.state in SOUGHT and not _is_near(a, host, pod)]
    found: dict[int, int] = {}
    if not left:
        return found
    known = {host.inode, *([pod.inode] if pod is not None else ())}
    with contextlib.ExitStack() as undo:
        for place in net_namespaces.places(frozenset(known)):
            try:
                end = Netns(place.path)
            except OSError:
                continue  # it ended with its process
            with contextlib.closing(end):
                there = [a for a in left if find_in_pod(a, end) is not None] if end.inode == place.inode else []
                if there:
                    found[end.inode] = os.dup(end.fd)
                    undo.callback(os.close, found[end.inode])
                    left = [a for a in left if a not in there]
            if not left:
                break
        undo.pop_all()
    return found


def _is_near(attachment: Attachment, host: Netns, pod: Netns | None) -> bool:
    in_pod = pod is not None and find_in_pod(attachment, pod) is not None
    return in_pod or find_on_host(attachment, host) is not None


def end_with(attachment: Attachment, ends: Sequence[Netns]) -> Netns | None:
    """The namespace a device is in, of the pod's and the held ones; the first if it is in none of them."""
    if len(ends) > 1:
        return next((end for end in ends if find_in_pod(attachment, end) is not None), ends[0])
    return ends[0] if ends else None
