"""The HTTP head of a streaming connection: one request that asks for an upgrade, one answer. RFC 9112, RFC 9110 7.8.

    head = RequestHead()
    request = head.receive_data(received)      # None until the head is complete
    transport.write(head.switch([("Upgrade", "SPDY/3.1")]))    # or head.refuse(404, "...")
    spdy.receive_data(head.surplus())          # what the client sent after its head

A connection carries one request only.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import h11

MAX_HEAD = 32 * 1024  # bytes
MAX_LINES = 128  # parsing a line costs far more than its bytes


_END = re.compile(rb"\n\r?\n")


class BadRequest(ValueError):
    """Not an HTTP request we can answer; the text is for the client."""


class UpgradeRequest(NamedTuple):
    method: str
    path: str  # without the query
    headers: dict[str, list[str]]  # by lower-case name, in the order received

    def values(self, name: str) -> list[str]:
        """A header's comma-separated values, over all its lines, without the empty ones."""
        lines = self.headers.get(name.lower(), [])
        return [v for line in lines for v in (part.strip() for part in line.split(",")) if v]

    def asks_for(self, protocol: str) -> bool:
        """Whether the client asks for this protocol (in any case, as Kubernetes compares them)."""
        wants = any("upgrade" in v.lower() for v in self.values("Connection"))
        return wants and any(v.lower() == protocol.lower() for v in self.values("Upgrade"))


class RequestHead:
    """Reads one request head and makes the answer's head."""

    def __init__(self) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._received = bytearray()

    def receive_data(self, data: bytes) -> UpgradeRequest | None:
        """The request once its head is complete. Raises BadRequest if it is invalid, too long or the client hung up."""
        searched = max(0, len(self._received) - 2)
        self._received += data
        end = _END.search(self._received, searched)
        if not data or self._received[0] < 0x21:  # TLS begins with 0x16
            raise BadRequest("this is no HTTP request")
        if (end.start() if end else len(self._received)) > MAX_HEAD:
            raise BadRequest(f"a request head of more than {MAX_HEAD} bytes")
        if end is None:
            return None
        if self._received.count(b"\n", 0, end.end()) > MAX_LINES:
            raise BadRequest(f"a request head of more than {MAX_LINES} lines")
        return self._parse()

    def _parse(self) -> UpgradeRequest:
        """Parse a complete head. h11 is not given an incomplete one: it would parse it from its start each time."""
        try:
            self._h11.receive_data(bytes(self._received))
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            raise BadRequest(str(error)) from error
        if not isinstance(event, h11.Request):
            raise BadRequest("this is no HTTP request")
        return self._request(event)

    def _request(self, event: h11.Request) -> UpgradeRequest:
        headers: dict[str, list[str]] = {}
        for name, value in event.headers:
            headers.setdefault(name.decode("ascii"), []).append(value.decode("latin-1"))
        path = event.target.decode("ascii").partition("?")[0]
        return UpgradeRequest(event.method.decode("ascii"), path, headers)

    def switch(self, headers: Iterable[tuple[str, str]]) -> bytes:
        """101 Switching Protocols. Read surplus() afterwards. Raises BadRequest if the request has a body."""
        try:
            if not isinstance(self._h11.next_event(), h11.EndOfMessage):
                raise BadRequest("an upgrade request must not have a body")
            answer = h11.InformationalResponse(status_code=101, headers=[*headers], reason=b"Switching Protocols")
            return self._h11.send(answer) or b""
        except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:
            raise BadRequest(f"unable to upgrade: {error}") from error

    def surplus(self) -> bytes:
        """The bytes received after the request's head: they belong to the protocol switched to."""
        return bytes(self._h11.trailing_data[0])


REASONS = {400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
           429: "Too Many Requests", 503: "Service Unavailable"}  # fmt: skip


def error_response(status: int, text: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A complete response that ends the connection: status line, headers, and one line of text for a person."""
    body = text.encode() + b"\n"
    writer = h11.Connection(h11.SERVER)
    own = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), ("Connection", "close")]
    answer = h11.Response(status_code=status, headers=[*own, *headers], reason=REASONS.get(status, "Error").encode())
    head = writer.send(answer) or b""
    return head + (writer.send(h11.Data(data=body)) or b"")
