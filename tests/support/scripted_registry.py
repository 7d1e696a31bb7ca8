"""A registry on loopback that answers what a test says, word for word, and remembers what it was asked."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

TLS = b"\x16"  # the first byte of a handshake
HANG = b"hang"  # an answer that never comes
DIGEST = "sha256:" + "a" * 64


@dataclass
class Asked:
    """One request. target: what follows the method, with its query; headers by name in lower case."""

    method: str
    target: str
    headers: dict[str, str]


@dataclass
class ScriptedRegistry:
    port: int
    asked: list[Asked] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def heads(self) -> list[Asked]:
        return [each for each in self.asked if each.method == "HEAD"]


def answer(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    if "Transfer-Encoding" not in (headers or {}):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextlib.asynccontextmanager
async def scripted(
    script: Callable[[Asked], bytes], tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedRegistry]:
    """Serve plain HTTP, or TLS; script: gives the bytes that answer a request, or HANG."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            first = await reader.readexactly(1)
            if first == TLS:
                writer.close()
                return
            head = (first + await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = head[0].split()
            pairs = (line.split(": ", 1) for line in head[1:] if line)
            found = Asked(method, target, {name.lower(): value for name, value in pairs})
            registry.asked.append(found)
            text = script(found)
            if text == HANG:
                await reader.read()
            else:
                writer.write(text)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    registry = ScriptedRegistry(server.sockets[0].getsockname()[1])
    async with server:
        yield registry
