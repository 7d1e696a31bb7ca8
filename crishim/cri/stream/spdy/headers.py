"""SPDY/3.1 name/value blocks: header lists, compressed with one zlib stream a direction (draft 3.1, section 2.6.10).

Both ends start their zlib streams from the same dictionary and flush (Z_SYNC_FLUSH) after every block, so a block can
only be decompressed after all blocks before it: a frame that is refused must still be decompressed.

A name can hold several values, joined with NUL. The draft requires lower-case names; Kubernetes' clients send lower
case and look names up in any case, so names are lower-cased here on the way in and out.
"""

import zlib
from collections.abc import Iterable, Mapping
from struct import Struct

WORDS = """
options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow
authorization cache-control connection content-base content-encoding content-language content-length content-location
content-md5 content-range content-type date etag expect expires from host if-match if-modified-since if-none-match
if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range
referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get
status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin
"""  # each is preceded by its length in the dictionary; _ stands for a space

CODES = (100, 101, 201, 202, 205, 206, 300, 302, 303, 304, 305, 306, 307, 402, 405, 406, 407, 408, 409, 410, 411, 412,
         413, 414, 415, 416, 417, 502, 504, 505)  # fmt: skip
PHRASES = (
    "203 Non-Authoritative Information", "204 No Content", "301 Moved Permanently", "400 Bad Request",
    "401 Unauthorized", "403 Forbidden", "404 Not Found", "500 Internal Server Error", "501 Not Implemented",
    "503 Service Unavailable", "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 ",
    "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT", "chunked,", "text/html,image/png,image/jpg,image/gif,",
    "application/xml,application/xhtml+xml,", "text/plain,text/javascript,", "public", "private", "max-age=",
    "gzip,deflate,sdch", "charset=utf-8", "charset=iso-8859-1,utf-,*,enq=0.",
)  # fmt: skip

_U32 = Struct(">I")


def _dictionary() -> bytes:
    words = [w.replace("_", " ").encode() for w in WORDS.split()]
    listed = b"".join(_U32.pack(len(w)) + w for w in words)
    return listed + "".join([*map(str, CODES), *PHRASES]).encode()


DICTIONARY = _dictionary()  # the draft's: 1423 bytes, Adler-32 0xE3C6A7C2

MAX_BLOCK = 8 * 1024  # bytes of an uncompressed block, which may be a thousand times as large as the compressed one
MAX_HEADERS = 32  # of a block; clients send a few short ones

Headers = dict[str, str]


class BadHeaderBlock(ValueError):
    """A block that cannot be decompressed or parsed: the session's compression state is lost."""


class HeaderCompressor:
    """The sending side's zlib stream."""

    def __init__(self) -> None:
        # A window just large enough for the dictionary, and a small hash table: 24 KB a session instead of 256.
        self._zlib = zlib.compressobj(wbits=12, memLevel=3, zdict=DICTIONARY)

    def compress(self, headers: Mapping[str, str]) -> bytes:
        block = [_U32.pack(len(headers))]
        for name, value in headers.items():
            for part in (name.lower().encode(), value.encode()):
                block += (_U32.pack(len(part)), part)
        return self._zlib.compress(b"".join(block)) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class HeaderDecompressor:
    """The receiving side's zlib stream."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def decompress(self, data: bytes) -> Headers:
        """One block's headers. Raises BadHeaderBlock if it is incomplete or invalid, or larger than MAX_BLOCK."""
        try:
            block = self._zlib.decompress(data, MAX_BLOCK)
        except zlib.error as error:
            raise BadHeaderBlock(f"cannot decompress a header block: {error}") from error
        if self._zlib.unconsumed_tail or self._zlib.unused_data:
            raise BadHeaderBlock(f"a header block is larger than {MAX_BLOCK} bytes")
        return dict(_pairs(block))


def _pairs(block: bytes) -> Iterable[tuple[str, str]]:
    count, rest = _take_u32(memoryview(block))
    if count > MAX_HEADERS:
        raise BadHeaderBlock(f"a header block claims {count} headers")
    seen = set()
    for _ in range(count):
        name, rest = _take_text(rest)
        value, rest = _take_text(rest)
        if not name or name.lower() in seen:
            raise BadHeaderBlock(f"header name {name!r} is empty or repeated")
        seen.add(name.lower())
        yield name.lower(), value
    if rest:
        raise BadHeaderBlock(f"{len(rest)} bytes follow the headers of a block")


def _take_u32(data: memoryview) -> tuple[int, memoryview]:
    if len(data) < 4:
        raise BadHeaderBlock("a header block ends within a length")
    return int.from_bytes(data[:4]), data[4:]


def _take_text(data: memoryview) -> tuple[str, memoryview]:
    length, rest = _take_u32(data)
    if length > len(rest):
        raise BadHeaderBlock("a header block ends within a name or value")
    try:
        return str(rest[:length], "utf-8"), rest[length:]
    except UnicodeDecodeError as error:
        raise BadHeaderBlock("a header is not UTF-8") from error
