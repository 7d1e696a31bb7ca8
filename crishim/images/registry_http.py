"""Send one HTTP request to a registry or its token server, over a new connection (h11: RFC 9112).

The response is not trusted: its head and body are limited while they are read. No redirects, keep-alive or retries; the
caller sets a time limit. Nothing blocks: names are resolved and certificates loaded in threads.
"""

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import h11
import msgspec

from crishim.linux import executors

MAX_HEAD = 32 << 10  # bytes of an answer's head
MAX_BODY = 64 << 10  # bytes of its body: a token has a few KB
MAX_INFORMATIONAL = 4  # answers of 1xx before it
_CHUNK = 4 << 10  # bytes parsed at a time: as HTTP chunks of one byte they take 10 ms of the event loop
MAX_PORT = 65535


class HttpAddress(msgspec.Struct, frozen=True):
    """The address of a request. scheme: "https", "http", or "https, not verified"."""

    scheme: str
    host: str
    port: int | None = None

    @property
    def number(self) -> int:
        return self.port or (80 if self.scheme == "http" else 443)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host


UNVERIFIED = "https, not verified"


class HttpResponse(msgspec.Struct, frozen=True):
    status: int
    headers: tuple[tuple[str, str], ...]  # names in lower case
    body: bytes = b""

    def header(self, name: str) -> str:
        """The first header of a name; "" if there is none."""
        return next((value for key, value in self.headers if key == name), "")


async def request(method: str, address: HttpAddress, target: str, headers: dict[str, str]) -> HttpResponse:
    """Send a request without a body, and read the response.

    Raises OSError (ssl.SSLError is one) if it cannot connect; h11.ProtocolError for invalid HTTP, also in the request,
    or a response that is too long.
    """
    sent = h11.Request(
        method=method,
        target=target,
        headers=[("Host", address.authority), ("User-Agent", "crishim"), ("Connection", "close"), *headers.items()],
    )
    async with _connected(address) as (reader, writer):
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        writer.write((connection.send(sent) or b"") + (connection.send(h11.EndOfMessage()) or b""))
        await writer.drain()
        return await _answer(connection, reader)


async def _answer(connection: h11.Connection, reader: asyncio.StreamReader) -> HttpResponse:
    head: h11.Response | None = None
    body = bytearray()
    received = informational = 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(_CHUNK)
            received += len(data)
            if received > MAX_HEAD + MAX_BODY:  # including heads of 1xx and chunk framing
                raise h11.RemoteProtocolError("the answer is too long")
            connection.receive_data(data)
            await asyncio.sleep(0)
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            pairs = tuple((key.decode("ascii"), value.decode("latin-1")) for key, value in head.headers)
            return HttpResponse(head.status_code, pairs, bytes(body))
        elif isinstance(event, h11.InformationalResponse) and informational < MAX_INFORMATIONAL:
            informational += 1
        else:
            raise h11.RemoteProtocolError("the connection ended before the answer")


@contextlib.asynccontextmanager
async def _connected(address: HttpAddress) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    context = await _context(address.scheme)
    found = await executors.registries(
        socket.getaddrinfo, address.host, address.number, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    reader, writer = await _first([str(where[4][0]) for where in found], address, context)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _first(
    hosts: list[str], address: HttpAddress, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first of several addresses that accepts; raises the last one's error."""
    failure: OSError = OSError(f"{address.host} has no address")
    for host in dict.fromkeys(hosts):
        try:
            return await asyncio.open_connection(
                host, address.number, ssl=context, limit=_CHUNK, server_hostname=address.host if context else None
            )
        except OSError as error:
            failure = error
    raise failure


async def _context(scheme: str) -> ssl.SSLContext | None:
    if scheme == "http":
        return None
    if scheme == UNVERIFIED:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    return await executors.registries(authorities)


def authorities() -> ssl.SSLContext:
    """A TLS context with the host's CA file, read again when it has changed. Blocks for 30 ms then."""
    file = ssl.get_default_verify_paths().cafile
    with contextlib.suppress(OSError):
        if file:
            found = Path(file).stat()
            return _authorities(file, found.st_ino, found.st_size, found.st_mtime_ns)
    return ssl.create_default_context()


@functools.lru_cache(maxsize=1)
def _authorities(*_: object) -> ssl.SSLContext:
    return ssl.create_default_context()
