"""HTTP/1.1 responses of the page, and access control. Pure (RFC 9110, RFC 9112).

Every user of the node can connect to loopback, so all paths begin with a secret, which the command prints. A cookie
would not do: a browser sends it to every port of the host, also another user's. A request of a foreign site whose name
resolves to 127.0.0.1 (DNS rebinding) has that name in its Host header, and is refused.
"""

import contextlib
import hmac
import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

import h11

from crishim.cri.stream.http_upgrade import REASONS, UpgradeRequest
from crishim.ids import is_id

TEXT, HTML, SVG = "text/plain; charset=utf-8", "text/html; charset=utf-8", "image/svg+xml"
FILES = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": SVG}
_STRICT = "default-src 'none'; {}base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
POLICY = _STRICT.format("script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; ")
DRAWING_POLICY = _STRICT.format("style-src 'unsafe-inline'; ")  # of a timeline, which has its style inside
_OK = {200: "OK"}


class Resource(NamedTuple):
    """kind: "page", "events", "file", "start.svg" or "start.txt"; name: the file's, or a pod's id."""

    kind: str
    name: str = ""


class PageRefusal(NamedTuple):
    status: int
    text: str


def resource_of(request: UpgradeRequest, secret: str) -> Resource | PageRefusal:
    """The requested resource, or a refusal. secret: the first component of every path, "" for none.

    Without the secret the refusal is the same for all paths.
    """
    hosts = request.headers.get("host", [])
    if len(hosts) != 1 or not _is_loopback(hosts[0]):
        return PageRefusal(403, "this page is for localhost and addresses of loopback alone")
    name = request.path.removeprefix("/")
    if secret:
        first, slash, name = name.partition("/")
        if not slash or not hmac.compare_digest(first.encode(), secret.encode()):
            return PageRefusal(404, "nothing is here: the page's address is what `crishim page` has printed")
    found = _known(name)
    if found is None:
        return PageRefusal(404, "there is no such page")
    if request.method not in ("GET", "HEAD"):
        return PageRefusal(405, "this page is only read: GET and HEAD")
    return found


def _is_loopback(host: str) -> bool:
    """Whether a Host header is localhost or a loopback address, with any port: it differs if it is forwarded."""
    name, colon, port = host.lower().rpartition(":")
    name = name if colon and port.isdecimal() else host.lower()
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    with contextlib.suppress(ValueError):
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    return False


def _known(path: str) -> Resource | None:
    if path in ("", "events"):
        return Resource(path or "page")
    if path in FILES:
        return Resource("file", path)
    pod, dot, form = path.removeprefix("starts/").partition(".")
    if path.startswith("starts/") and is_id(pod) and form in ("svg", "txt"):
        return Resource(f"start{dot}{form}", pod)
    return None


def answer(kind: str, body: bytes, *, policy: str = POLICY, bare: bool = False) -> bytes:
    """A 200 response. kind: the body's media type. bare: without the body, for HEAD."""
    return _head(200, [("Content-Type", kind), ("Content-Length", str(len(body)))], policy) + (b"" if bare else body)


def refuse(refusal: PageRefusal, *, bare: bool = False) -> bytes:
    """A response with a refusal's text."""
    body = refusal.text.encode() + b"\n"
    own = [("Content-Type", TEXT), ("Content-Length", str(len(body)))]
    allowed = [("Allow", "GET, HEAD")] if refusal.status == 405 else []
    return _head(refusal.status, [*own, *allowed], POLICY) + (b"" if bare else body)


def begin_events() -> bytes:
    """The head of a stream of server-sent events, which ends with the connection (HTML standard)."""
    return _head(200, [("Content-Type", "text/event-stream")], POLICY)


def event(name: str, data: str) -> bytes:
    """One server-sent event. data: without line ends."""
    return f"event: {name}\ndata: {data}\n\n".encode()


def _head(status: int, headers: Iterable[tuple[str, str]], policy: str) -> bytes:
    common = [
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cache-Control", "no-store"),
        ("Connection", "close"),
    ]
    reason = {**_OK, **REASONS}.get(status, "Error").encode()
    response = h11.Response(status_code=status, headers=[*headers, *common], reason=reason)
    return h11.Connection(h11.SERVER).send(response) or b""
