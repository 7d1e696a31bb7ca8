"""The streaming server: makes single-use URLs for exec, attach and port-forward, and serves them.

    server = StreamServer()
    await server.start(runtime, "127.0.0.1", 0)
    server.exec_url(request) -> "http://127.0.0.1:40123/exec/dGhpcyBp"
    await server.stop()

The files beside this one, in the order a connection uses them: listener and connection (TCP, TLS), endpoints (HTTP,
tokens, negotiation), limits, then remotecommand/serve over remotecommand/spdy or websocket, or portforward/spdy or
websocket. They open sessions and ports through runtime. spdy/streams and websocket/channels turn the protocol machines
into streams; fair_scheduler shares the event loop among connections.
"""

import asyncio
import ipaddress
import logging
import ssl

from crishim.cri.stream.byte_stream import ByteStream
from crishim.cri.stream.connection import Connection, ConnectionEnded, release
from crishim.cri.stream.endpoints import Endpoints
from crishim.cri.stream.fair_scheduler import Budget, FairScheduler
from crishim.cri.stream.limits import Limits
from crishim.cri.stream.listener import Listener, PendingConnection
from crishim.cri.stream.memory_trim import MemoryTrimmer
from crishim.cri.stream.requests import StreamRequest, from_attach, from_exec, from_port_forward
from crishim.cri.stream.runtime import StreamingRuntime
from crishim.cri.stream.tokens import Tokens
from crishim.errors import CrishimError, Kind
from crishim.linux.peer_close import PeerCloseWatcher
from crishim.pb import cri_pb2 as cri

log = logging.getLogger(__name__)


class StreamServer:
    """An HTTP server on its own address.

    tls_cert, tls_key: paths of PEM files; both or neither. creation_timeout: seconds a client has to create its
    streams. idle_timeout: seconds without a byte in either direction until a connection is closed.
    """

    def __init__(
        self,
        *,
        tls_cert: str = "",
        tls_key: str = "",
        creation_timeout: float = 30,
        idle_timeout: float = 4 * 3600,
        limits: Limits | None = None,
    ) -> None:
        self.url = ""  # "http://127.0.0.1:40123", once started
        self._tokens: Tokens[StreamRequest] = Tokens()
        self._limits = limits or Limits()
        self._creation_timeout = creation_timeout
        self._endpoints: Endpoints | None = None
        self._tls = (tls_cert, tls_key)
        self._idle_timeout = idle_timeout
        self._scheduler = FairScheduler()
        self._listener: Listener | None = None
        self._peer_watcher: PeerCloseWatcher | None = None
        self._trimmer = MemoryTrimmer(self._renew)

    async def start(self, runtime: StreamingRuntime, address: str, port: int) -> None:
        """Listen; port 0 takes a free one. runtime: opens sessions and ports.

        Raises UNAVAILABLE if the address is taken, INVALID for unusable TLS files.
        """
        context = _tls_context(*self._tls)
        self._endpoints = Endpoints(self._tokens, runtime, self._creation_timeout, self._limits)
        listener = Listener(self, self._limits.pending, Budget(self._scheduler), context)
        try:
            where = await listener.start(address, port)
        except OSError as error:
            raise CrishimError(
                Kind.UNAVAILABLE, f"cannot listen for streaming on {address} port {port}: {error.strerror}"
            ) from error
        self._listener, self._peer_watcher = listener, PeerCloseWatcher()
        self.url = _url("https" if context else "http", *where)

    async def stop(self) -> None:
        """Stop listening, close every session (exec'd commands are killed) and wait until they are gone."""
        if self._listener is None or self._peer_watcher is None:
            return
        await self._listener.stop()
        self._peer_watcher.close()
        await self._trimmer.stop()
        self._listener = self._peer_watcher = None

    def _renew(self) -> None:
        if self._listener is not None:
            self._listener.wait_anew()

    def exec_url(self, request: cri.ExecRequest) -> str:
        """A URL for one exec. Raises INVALID without a stream or a command; EXHAUSTED beyond 1000 unused URLs."""
        return self._issue("exec", from_exec(request), request.ByteSize())

    def attach_url(self, request: cri.AttachRequest) -> str:
        """A URL for one attach. Raises INVALID if no stream is requested, or tty and stderr together; EXHAUSTED."""
        return self._issue("attach", from_attach(request), request.ByteSize())

    def port_forward_url(self, request: cri.PortForwardRequest) -> str:
        """A URL for port forwarding into one pod, for any number of connections."""
        return self._issue("portforward", from_port_forward(request), request.ByteSize())

    def _issue(self, kind: str, waiting: StreamRequest, size: int) -> str:
        if not self.url:
            raise CrishimError(Kind.UNAVAILABLE, "the streaming server is not running")
        return f"{self.url}/{kind}/{self._tokens.issue(waiting, size)}"

    async def serve_connection(self, stream: ByteStream, pending: PendingConnection) -> None:
        """Serve one connection to its end, which cancels the tasks that serve it."""
        assert self._peer_watcher is not None
        assert self._endpoints is not None
        connection = Connection(stream, pending.sock, self._peer_watcher, self._idle_timeout, Budget(self._scheduler))
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(connection.wait_ended())
                await self._endpoints.serve(connection, pending)
                watching.cancel()
            await connection.finish()
        except* ConnectionEnded as ended:
            log.debug("a streaming connection ended: %s", ended.exceptions[0])
            release(ended)
        except* Exception:
            log.exception("a streaming connection failed")
        finally:
            connection.abort()
            self._trimmer.soon()


def _url(scheme: str, host: str, port: int) -> str:
    """The URL for clients: they run on this node, so the unspecified address becomes the loopback's."""
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"{scheme}://{address if address.version == 4 else f'[{address}]'}:{port}"


def _tls_context(cert: str, key: str) -> ssl.SSLContext | None:
    if not cert and not key:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise CrishimError(Kind.INVALID, f"cannot use the streaming TLS files {cert} and {key}: {error}") from error
    return context
