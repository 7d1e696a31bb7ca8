"""BPF programs on a network device: query, detach, attach. bpf(2), linux/bpf.h.

A program is attached directly or by a bpf_link, which is owned by whoever has its descriptor or its pin; with the
link's id anybody can detach it. Devices are given by ifindex in the calling thread's network namespace. Calls by id
need CAP_SYS_ADMIN.
"""

import contextlib
import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator

import msgspec

from crishim.linux import libc

SYS_BPF = 280 if platform.machine() == "aarch64" else 321
PROG_ATTACH, PROG_DETACH, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD, PROG_QUERY = 8, 9, 13, 15, 16
LINK_GET_FD_BY_ID, LINK_GET_NEXT_ID, LINK_DETACH = 30, 31, 34
# enum bpf_attach_type: tcx of any device, and the same of a netkit pair.
HOOKS = {"tcx ingress": 46, "tcx egress": 47, "netkit primary": 54, "netkit peer": 55}
LINK_TYPE_XDP = 6
F_BEFORE, F_ID = 1 << 3, 1 << 5
MOST = 64  # programs at one hook, BPF_MPROG_MAX
NO_HOOK = frozenset({errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV, errno.EACCES})
_ATTR = 128  # bytes of union bpf_attr that we use, zeroed


class BpfProgram(msgspec.Struct, frozen=True, kw_only=True):
    """One program at one hook of a device. tag and loaded distinguish it from a later one with the same id."""

    hook: str  # a key of HOOKS; "XDP driver", "XDP generic", "XDP hardware"; "tc filter"
    id: int
    name: str = ""
    tag: bytes = b""
    loaded: int = 0  # nanoseconds after boot
    by_link: bool = False

    def __str__(self) -> str:
        return f"{self.hook} program {self.id}{f' ({self.name})' if self.name else ''}"


def bpf(command: int, attr: bytes) -> tuple[int, bytes]:
    """The raw call: its result, and attr as changed by the kernel. Raises OSError."""
    buffer = ctypes.create_string_buffer(attr + bytes(_ATTR - len(attr)), _ATTR)
    result = libc.syscall(SYS_BPF, command, buffer, _ATTR, what="bpf")
    return result, buffer.raw


@contextlib.contextmanager
def opened(command: int, id: int) -> Iterator[int]:
    """A descriptor by id (PROG_GET_FD_BY_ID, LINK_GET_FD_BY_ID). Raises OSError, ENOENT if there is none."""
    fd, _ = bpf(command, struct.pack("=I", id))
    try:
        yield fd
    finally:
        os.close(fd)


def _information(fd: int, size: int) -> bytes:
    buffer = ctypes.create_string_buffer(size)
    bpf(OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, size, ctypes.addressof(buffer)))
    return buffer.raw


def describe(hook: str, id: int, *, by_link: bool = False) -> BpfProgram:
    """What the kernel knows of a program. Raises OSError, ENOENT if there is none of that id."""
    with opened(PROG_GET_FD_BY_ID, id) as fd:
        info = _information(fd, 80)
    (loaded,) = struct.unpack_from("=Q", info, 40)
    name = info[64:80].split(b"\0")[0].decode(errors="replace")
    return BpfProgram(hook=hook, id=id, name=name, tag=info[8:16], loaded=loaded, by_link=by_link)


def query(index: int, hook: str) -> list[tuple[int, int]]:
    """(program id, link id or 0) of a hook, in the order they run. Empty if device or kernel has no such hook."""
    if not _count(index, hook):
        return []
    programs, links = (ctypes.create_string_buffer(4 * MOST) for _ in range(2))
    places = ctypes.addressof(programs), ctypes.addressof(links)
    attr = struct.pack("=IIIIQIIQQQQ", index, HOOKS[hook], 0, 0, places[0], MOST, 0, 0, places[1], 0, 0)
    _, answer = bpf(PROG_QUERY, attr)
    (count,) = struct.unpack_from("=I", answer, 24)
    ids = struct.unpack_from(f"={count}I", programs.raw), struct.unpack_from(f"={count}I", links.raw)
    return list(zip(*ids, strict=True))


def _count(index: int, hook: str) -> int:
    try:
        _, answer = bpf(PROG_QUERY, struct.pack("=II", index, HOOKS[hook]))
    except OSError as error:
        if error.errno in NO_HOOK:
            return 0
        raise
    return int(struct.unpack_from("=I", answer, 24)[0])


def detach(index: int, hook: str, program: int, link: int) -> None:
    """Detach one program of query(). Raises OSError, ENOENT if it is not there any more."""
    if link:
        detach_link(link)
        return
    with opened(PROG_GET_FD_BY_ID, program) as fd:
        bpf(PROG_DETACH, struct.pack("=IIII", index, fd, HOOKS[hook], 0))


def detach_link(link: int) -> None:
    """Detach a bpf_link from its device, whoever owns it; the link stays, defunct, until its owner closes it."""
    with opened(LINK_GET_FD_BY_ID, link) as fd:
        bpf(LINK_DETACH, struct.pack("=I", fd))


def attach(index: int, hook: str, program: int, before: int = 0) -> None:
    """Attach a program to a hook, before the program with the id `before`, or last. Raises OSError."""
    flags = F_BEFORE | F_ID if before else 0
    with opened(PROG_GET_FD_BY_ID, program) as fd:
        bpf(PROG_ATTACH, struct.pack("=IIIIII", index, fd, HOOKS[hook], flags, 0, before))


def xdp_links(index: int, program: int) -> list[int]:
    """Ids of the bpf_links that hold this XDP program on a device of this ifindex, newest first.

    The kernel gives the ifindex without its namespace: it may be a device of another one.
    """
    found: list[int] = []
    id = 0
    while True:
        try:
            _, answer = bpf(LINK_GET_NEXT_ID, struct.pack("=II", id, 0))
        except FileNotFoundError:
            return found[::-1]
        (id,) = struct.unpack_from("=I", answer, 4)
        with contextlib.suppress(FileNotFoundError), opened(LINK_GET_FD_BY_ID, id) as fd:  # gone meanwhile
            info = _information(fd, 32)
            kind, _, held, _, on = struct.unpack_from("=IIIII", info)
            if (kind, held, on) == (LINK_TYPE_XDP, program, index):
                found.append(id)
