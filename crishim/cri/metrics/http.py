"""GET /metrics for Prometheus, over HTTP or HTTPS, in threads of its own: a scrape does not use the event loop.

Clients are not trusted: MOST_CONNECTIONS are served at once, and one that is silent for PATIENCE seconds is closed.
"""

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from crishim.errors import CrishimError, Kind

MOST_CONNECTIONS = 16
PATIENCE = 10.0  # seconds a client may be silent
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE

    def setup(self) -> None:
        self.request.settimeout(PATIENCE)
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()  # in this connection's thread: it delays no other
        super().setup()

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not logged."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        self.address_family = family
        self._tls = tls
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # wsgiref's asks DNS for the host's name
        self.server_name, self.server_port = "localhost", self.server_address[1]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, client = super().get_request()
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, client

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect, are silent or do not speak TLS."""


def serve(address: str, tls_cert: str, tls_key: str, metrics: Application) -> Callable[[], None]:
    """Serve an application as /metrics on "HOST:PORT", 404 for other paths; return the function that stops it.

    Without a host it is 127.0.0.1. Raises UNAVAILABLE if the address or the certificate cannot be used.
    """
    host, _, port = address.rpartition(":")
    try:
        tls = None
        if tls_cert:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(tls_cert, tls_key)
    except (OSError, ValueError) as error:
        text = f"metrics.tls_cert, metrics.tls_key: no certificate and its key (PEM): {error}"
        raise CrishimError(Kind.UNAVAILABLE, text) from error
    try:
        found = socket.getaddrinfo(host.strip("[]") or "127.0.0.1", int(port), type=socket.SOCK_STREAM)
        server = _Server(found[0][0], found[0][4][:2], tls)  # type: ignore[arg-type]
    except (OSError, ValueError) as error:
        raise CrishimError(Kind.UNAVAILABLE, f"metrics.address: cannot listen on {address}: {error}") from error
    server.set_app(_only_metrics(metrics))
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


def _only_metrics(metrics: Application) -> Application:
    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        known = environ["PATH_INFO"] == "/metrics"
        if known and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return metrics(environ, start)
        status = "405 Method Not Allowed" if known else "404 Not Found"
        start(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{status[4:]}: metrics are at /metrics\n".encode()]

    return application
