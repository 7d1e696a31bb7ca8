"""Finds the machine's network namespaces, those of processes and those pinned by mounts, and reads their links.

The kernel has no list of them. One that only an open descriptor keeps, or a mount in another mount namespace, is not
found. A pod can make any number of links: of each namespace a bounded part is read, the oldest first, even if they
change meanwhile.
"""

import contextlib
import os
import re
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from crishim.linux import libc, proc_files
from crishim.linux.namespaces import CLONE_NEWNET
from crishim.linux.netlink import addresses, links, rtnetlink
from crishim.linux.netlink.rtnetlink import Rtnetlink, attributes, u32
from crishim.linux.netns_thread import in_namespaces_thread

LIMIT = 1 << 17  # bytes of links read of a namespace: some 100 links, 5 ms at most
RTM_GETNSID = 90
NETNSA_NSID, NETNSA_FD = 1, 3
_MOUNTED = re.compile(rb"^\d+ \d+ \S+ net:\[(\d+)\] (\S+) .* - nsfs ", re.MULTILINE)
_DUMP = rtnetlink.frame(links.RTM_GETLINK, rtnetlink.NLM_F_REQUEST | rtnetlink.NLM_F_DUMP, 1, links.EVERY)
_KERNEL_THREADS = "/proc/2/task/2/children"  # kthreadd's; they are in the first namespace


class NetnsPath(NamedTuple):
    """A network namespace and where a handle of it is."""

    inode: int
    path: str

    @property
    def title(self) -> str:
        """For a person: "process 77", "/run/netns/blue"."""
        return f"process {self.path.split('/')[2]}" if self.path.startswith("/proc/") else self.path


def places(known: frozenset[int]) -> Iterator[NetnsPath]:
    """Every namespace that can be found, once, but for those with known inodes. 3 us a process."""
    seen = set(known)
    mounted = [
        (int(inode), os.fsdecode(path)) for inode, path in _MOUNTED.findall(proc_files.read("/proc/self/mountinfo"))
    ]
    for inode, path in (*mounted, *_of_processes()):
        if inode not in seen:
            seen.add(inode)
            yield NetnsPath(inode, path)


def _of_processes() -> Iterator[tuple[int, str]]:
    """A process of each namespace. readlink(2) takes half the time of stat(2) here."""
    threads, found, readlink = _kernel_threads(), dict[str, str](), os.readlink
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit() and name not in threads:
            path = f"/proc/{name}/ns/net"
            try:
                found.setdefault(readlink(path), path)
            except OSError:
                continue  # it has ended
    return ((int(link[len("net:[") : -1]), path) for link, path in found.items())


def _kernel_threads() -> set[str]:
    """Pids of kernel threads, half of all processes on a quiet machine; none in a pid namespace without them."""
    try:
        if proc_files.read("/proc/2/comm") != b"kthreadd\n":
            return set()
        return {"2", *proc_files.read(_KERNEL_THREADS).decode().split()}
    except OSError:
        return set()


def links_of(place: NetnsPath, buffer: bytearray, having: bytes = b"") -> list[bytes]:
    """The bodies of a namespace's RTM_NEWLINK messages with these bytes in them; none if it is gone.

    The calling thread is in that namespace afterwards. 50 us for a pod's few links.
    """
    try:
        handle = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        if os.fstat(handle).st_ino != place.inode:
            return []
        libc.setns(handle, CLONE_NEWNET)
    finally:
        os.close(handle)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as asked:
        asked.send(_DUMP)
        return _answers(asked, buffer, having)


def _answers(asked: socket.socket, buffer: bytearray, having: bytes) -> list[bytes]:
    found, read = list[bytes](), 0
    head, last = rtnetlink.message_head, (rtnetlink.NLMSG_DONE, rtnetlink.NLMSG_ERROR)
    while read < LIMIT:
        length = asked.recv_into(buffer)
        read += length
        offset, near = 0, buffer.find(having, 0, length)
        while offset + 16 <= length:
            size, kind = head(buffer, offset)
            if size < 16 or kind in last:
                return found
            if offset <= near < offset + size:
                found.append(bytes(memoryview(buffer)[offset + 16 : offset + size]))
            offset += size + 3 & ~3
            if 0 <= near < offset:
                near = buffer.find(having, offset, length)
    return found


def number(netlink: Rtnetlink, fd: int) -> int:
    """The nsid of a descriptor's namespace in the socket's, as in IFLA_LINK_NETNSID; -1 if it has none."""
    for message in netlink.request(RTM_GETNSID, bytes(4) + u32(NETNSA_FD, fd)):
        for kind, value in attributes(message.body[4:]):
            if kind == NETNSA_NSID:
                return int(struct.unpack("=i", value)[0])
    return -1


def addresses_in_use() -> set[str]:
    """The IP addresses of every namespace that can be found, this one included: "10.1.2.3", "fd00::1"."""
    found: set[str] = set()
    for place in places(frozenset()):
        with contextlib.suppress(OSError):  # it is gone
            found |= in_namespaces_thread((place.path,), lambda netns: addresses.in_use(netns.netlink))
    return found
