"""An HTTP connection that asks for an upgrade (blocking): its socket, and what came behind the head of the answer."""

import socket
import ssl
from urllib.parse import urlsplit

UPGRADE = "Connection: Upgrade"


class Refused(Exception):
    """The head of an answer that is no 101."""


def connect(url: str, timeout: float = 60) -> socket.socket:
    """https is not verified: the servers of tests sign their own certificates."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    connection = socket.create_connection((parts.hostname, parts.port), timeout=timeout)
    if parts.scheme != "https":
        return connection
    return ssl._create_unverified_context().wrap_socket(connection)


def request(url: str, *headers: str, method: str = "POST") -> bytes:
    """A request without a body, with these header lines."""
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", "Content-Length: 0", *headers, "", ""]
    return "\r\n".join(lines).encode()


def ask(url: str, *headers: str, method: str = "POST", timeout: float = 60) -> tuple[socket.socket, str]:
    """Ask for an upgrade; the connection and the head of the answer, of which nothing more is read."""
    connection = connect(url, timeout)
    connection.sendall(request(url, UPGRADE, *headers, method=method))
    head = b""
    while b"\r\n\r\n" not in head:
        received = connection.recv(1)
        assert received, head
        head += received
    return connection, head.decode()


def upgrade(url: str, *headers: str, method: str = "POST", timeout: float = 30) -> socket.socket:
    """A connection after its 101. Refused."""
    connection, head = ask(url, *headers, method=method, timeout=timeout)
    if not head.startswith("HTTP/1.1 101 "):
        connection.close()
        raise Refused(head)
    return connection
