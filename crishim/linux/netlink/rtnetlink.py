"""rtnetlink: requests to the kernel's network stack, one socket per network namespace. netlink(7), rtnetlink(7).

Messages are kept as a fixed header and a list of attributes, so that what is read can be written back, unknown
attributes included. A request costs about 20 us. (pyroute2 costs 0.3 to 0.9 ms a request and drops attributes it does
not know; attaching eight devices may cost 20 ms beside the kernel's own work. It monitors links in pods,
link_monitor.py, and tests compare with it.)

A socket belongs to the namespace its thread was in when it was made, whatever the thread joins later.
"""

import errno
import mmap
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from crishim.linux.netlink import attribute_shapes as shapes
from crishim.linux.netlink.attribute_shapes import NLA_TYPE_MASK, Attribute

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_ECHO = 0x1, 0x2, 0x4, 0x8
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP, NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x300, 0x100, 0x200, 0x400, 0x800
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLA_F_NESTED = 0x8000
NLMSGERR_ATTR_MSG = 1
SOL_NETLINK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 270, 11, 12
RECEIVE_BUFFER = 1 << 20  # bytes: a dump's datagrams must fit while we are decoding
DATAGRAM = 1 << 18  # bytes: a pod can give a link 64 KiB of altnames, and there is the rest
MAX_ERRNO = 4095  # linux/err.h
MOST_BUFFERS = 4  # kept for the next sockets: to map and unmap one costs 20 us
MAX_INTERRUPTED = 10  # dumps in a row that were interrupted by a change (NLM_F_DUMP_INTR)

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
message_head = struct.Struct("=IH").unpack_from  # its length and type
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type


class NetlinkMessage(NamedTuple):
    """One answer of the kernel: the type (RTM_NEW*) and all behind the netlink header."""

    type: int
    body: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, os.fsencode(value) + b"\0")


def number(value: bytes) -> int:
    """An unsigned attribute of up to four bytes."""
    return int.from_bytes(value[:4], sys.byteorder)


def attributes(data: bytes) -> list[Attribute]:
    """Attributes of a message or of a nested attribute, types without flags. Stops at a malformed length."""
    found = shapes.match(data)
    if found is not None:
        return list(zip(found[0].types, found[1], strict=True))
    if len(data) >= shapes.LEAST:
        shapes.learn(data)
    return shapes.walk(data)


def table(data: bytes) -> dict[int, bytes]:
    """The attributes by type; of several of one type the last."""
    found = shapes.match(data)
    return dict(attributes(data)) if found is None else dict(zip(found[0].types, found[1], strict=True))


def without(data: bytes, kinds: frozenset[int]) -> bytes:
    """The attributes unchanged, but for some types."""
    found = shapes.match(data)
    if found is not None:
        return b"".join([data[part] for part in shapes.remainder(found[0], kinds)])
    kept, offset = [], 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > len(data):
            break
        end = offset + (length + 3 & ~3)
        if kind & NLA_TYPE_MASK not in kinds:
            kept.append(data[offset:end])
        offset = end
    return b"".join(kept)


def join(items: Iterable[Attribute]) -> bytes:
    return b"".join(attribute(kind, value) for kind, value in items)


def frame(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """One request as it goes to the kernel."""
    return _HEADER.pack(16 + len(body), kind, flags, sequence, 0) + body


def split(datagram: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The messages of a datagram: (type, flags, sequence, body)."""
    offset = 0
    while offset + 16 <= len(datagram):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(datagram, offset)
        if length < 16 or offset + length > len(datagram):
            return
        yield kind, flags, sequence, datagram[offset + 16 : offset + length]
        offset += length + 3 & ~3


def failure(flags: int, body: bytes) -> OSError | None:
    """The error of an NLMSG_ERROR message, with the kernel's text if any; None for an acknowledgement."""
    number = -int.from_bytes(body[:4], "little" if struct.pack("=H", 1) == b"\1\0" else "big", signed=True)
    if number == 0:
        return None
    if not 0 < number <= MAX_ERRNO:
        number = errno.EPROTO
    said = ""
    if flags & NLM_F_ACK_TLVS and len(body) >= 20:
        (length,) = struct.unpack_from("=I", body, 4)
        behind = 20 if flags & NLM_F_CAPPED else 4 + (length + 3 & ~3)
        words = dict(attributes(body[behind:])).get(NLMSGERR_ATTR_MSG, b"")
        said = words.rstrip(b"\0").decode(errors="replace").rstrip(".")
    return OSError(number, said or os.strerror(number))


_buffers: list[mmap.mmap] = []  # only pages that were written take memory; a bytearray takes all


class Rtnetlink:
    """A socket to the network stack of the namespace this thread is in. A context manager; not thread-safe.

    protocol: of netlink(7); generic netlink frames its messages the same way (genetlink.py).
    """

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
            self._socket.bind((0, 0))
        except OSError:
            self._socket.close()
            raise
        self._sequence = 0
        self._buffer: mmap.mmap | bytearray = _buffers.pop() if _buffers else mmap.mmap(-1, DATAGRAM, mmap.MAP_PRIVATE)

    def __enter__(self) -> "Rtnetlink":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        buffer, self._buffer = self._buffer, bytearray()
        if isinstance(buffer, mmap.mmap) and len(_buffers) < MOST_BUFFERS:
            _buffers.append(buffer)

    def request(self, kind: int, body: bytes, flags: int = 0) -> list[NetlinkMessage]:
        """Send one request and wait for its end. Raises OSError with the kernel's errno and, if any, its text."""
        return self._exchange(kind, body, NLM_F_REQUEST | NLM_F_ACK | flags)

    def ask(self, kind: int, body: bytes) -> NetlinkMessage:
        """Send a request that has one answer. Raises OSError."""
        (answer,) = self.batch([(kind, body)])
        if isinstance(answer, OSError):
            raise answer
        return answer

    def dump(self, kind: int, body: bytes) -> list[NetlinkMessage]:
        """Send a dump request; repeated if the table changed meanwhile. Raises OSError, EINTR after MAX_INTERRUPTED."""
        for _ in range(MAX_INTERRUPTED):
            try:
                return self._exchange(kind, body, NLM_F_REQUEST | NLM_F_DUMP)
            except InterruptedError:
                continue
        raise OSError(errno.EINTR, "the kernel's table kept changing while it was read")

    def batch(self, requests: list[tuple[int, bytes]]) -> list[NetlinkMessage | OSError]:
        """Send several requests that have one answer each, at once. Returns each one's answer or error."""
        first = self._sequence + 1
        self._sequence += len(requests)
        frames = (frame(kind, NLM_F_REQUEST, n, body) for n, (kind, body) in enumerate(requests, first))
        self._socket.send(b"".join(frames))
        answers: list[NetlinkMessage | OSError] = []
        while len(answers) < len(requests):
            length = self._socket.recv_into(self._buffer)
            for kind, flags, sequence, body in split(bytes(memoryview(self._buffer)[:length])):
                if sequence < first:
                    continue
                refusal = failure(flags, body) if kind == NLMSG_ERROR else None
                answers.append(NetlinkMessage(kind, body) if refusal is None else refusal)
        return answers

    def _exchange(self, kind: int, body: bytes, flags: int) -> list[NetlinkMessage]:
        self._sequence += 1
        self._socket.send(frame(kind, flags, self._sequence, body))
        answers: list[NetlinkMessage] = []
        interrupted = False
        while True:
            length = self._socket.recv_into(self._buffer)
            for answer, answer_flags, sequence, answer_body in split(bytes(memoryview(self._buffer)[:length])):
                if sequence != self._sequence:
                    continue  # the rest of a dump given up earlier
                interrupted |= bool(answer_flags & NLM_F_DUMP_INTR)
                if answer in (NLMSG_ERROR, NLMSG_DONE):
                    error = failure(answer_flags, answer_body)
                    if error is not None:
                        raise error
                    if interrupted:
                        raise InterruptedError
                    return answers
                answers.append(NetlinkMessage(answer, answer_body))
