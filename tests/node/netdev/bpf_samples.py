"""Tiny BPF programs loaded and attached through bpf(2), as a pod with CAP_BPF and NET_ADMIN does it."""

import ctypes
import os
import socket
import struct

from crishim.linux import bpf, libc
from crishim.linux.netlink.rtnetlink import Rtnetlink, nested, text, u32

PROG_LOAD, OBJ_PIN, LINK_CREATE = 5, 6, 28
XDP, SCHED_CLS = 6, 3  # program types
ATTACH_XDP = 37
BPF_XDP_FLAGS = {"XDP driver": 1 << 2, "XDP generic": 1 << 1}


def load(kind: int, answer: int, name: str = "") -> int:
    """A descriptor of the program `return answer`."""
    code = ctypes.create_string_buffer(struct.pack("=BBhiBBhi", 0xB7, 0, 0, answer, 0x95, 0, 0, 0))
    license = ctypes.create_string_buffer(b"Apache-2.0")
    attr = struct.pack("=IIQQIIQII", kind, 2, ctypes.addressof(code), ctypes.addressof(license), 0, 0, 0, 0, 0)
    return bpf.bpf(PROG_LOAD, attr + name.encode().ljust(16, b"\0"))[0]


def number(program: int) -> int:
    """The id of the program of a descriptor."""
    info = ctypes.create_string_buffer(80)
    bpf.bpf(bpf.OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", program, 80, ctypes.addressof(info)))
    return int(struct.unpack_from("=I", info.raw, 4)[0])


def link(program: int, index: int, attach_type: int, flags: int = 0) -> int:
    """A descriptor of a bpf_link that holds the program on a device of this thread's namespace."""
    return bpf.bpf(LINK_CREATE, struct.pack("=IIII", program, index, attach_type, flags))[0]


def pin(descriptor: int, path: str) -> None:
    name = ctypes.create_string_buffer(path.encode())
    bpf.bpf(OBJ_PIN, struct.pack("=QII", ctypes.addressof(name), descriptor, 0))


def close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def mount_bpffs(path: str) -> None:
    libc.mount("bpf", path, "bpf", 0, "")


def add_filter(netlink: Rtnetlink, index: int, program: int, name: str) -> None:
    """`tc filter add dev ... ingress bpf direct-action`, of a clsact discipline."""
    options = nested(2, u32(6, program), text(7, name), u32(8, 1))  # TCA_OPTIONS: FD, NAME, FLAGS
    info = 49152 << 16 | socket.htons(3)  # priority, ETH_P_ALL
    head = struct.pack("=BxxxiIII", 0, index, 0, 0xFFFFFFF2, info)  # clsact's ingress
    netlink.request(44, head + text(1, "bpf") + options, 0x600)  # RTM_NEWTFILTER, CREATE | EXCL
