"""Serve one accepted connection: read the request head, redeem the token, negotiate the protocol, stream.

    GET or POST /exec/TOKEN, /attach/TOKEN, /portforward/TOKEN

    Upgrade: websocket   a channel subprotocol (none: the oldest), or for port-forward the SPDY tunnel; else 403
    Upgrade: SPDY/3.1    X-Stream-Protocol-Version: 400 without, 403 if none of its versions is ours

A token is used up by the first request, even if that is refused, as with the reference server.
"""

import asyncio
import logging

from crishim.cri.stream.connection import Connection, ConnectionEnded
from crishim.cri.stream.http_upgrade import BadRequest, RequestHead, UpgradeRequest, error_response
from crishim.cri.stream.limits import LimitExceeded, Limits
from crishim.cri.stream.listener import REQUEST_TIMEOUT, PendingConnection
from crishim.cri.stream.portforward import protocol as portforward
from crishim.cri.stream.portforward.spdy import SpdyForwarder
from crishim.cri.stream.remotecommand import protocol as remotecommand
from crishim.cri.stream.remotecommand.serve import serve
from crishim.cri.stream.remotecommand.spdy import SpdyClientStreams
from crishim.cri.stream.requests import AttachStream, ExecStream, PortForwardStream, StreamRequest
from crishim.cri.stream.runtime import StreamingRuntime
from crishim.cri.stream.spdy.transport import ConnectionTransport, TunnelTransport
from crishim.cri.stream.tokens import Tokens
from crishim.cri.stream.websocket import channel_codec as websocket_channels

log = logging.getLogger(__name__)

PARSING = 32  # units of work (fair_scheduler.py) that a request costs
SPDY = "SPDY/3.1"
VERSION_HEADER = "X-Stream-Protocol-Version"
KINDS = {"exec": ExecStream, "attach": AttachStream, "portforward": PortForwardStream}


class HttpError(Exception):
    """The request is answered with an HTTP status."""

    def __init__(self, status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(text)
        self.response = error_response(status, text, headers)


class Endpoints:
    """Serves connections; holds what they share."""

    def __init__(
        self,
        tokens: Tokens[StreamRequest],
        runtime: StreamingRuntime,
        creation_timeout: float,
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._tokens = tokens
        self._runtime = runtime
        self._creation_timeout = creation_timeout

    async def serve(self, connection: Connection, pending: PendingConnection) -> None:
        """Serve one connection to the end of its session. ConnectionEnded, alone or in groups.

        pending: marked authorized once the request had a valid token and a session is within the limits.
        """
        head = RequestHead()
        try:
            upgrade = await _read_head(connection, head)
            request = self._redeem(upgrade)
            with self._limits.session(request):
                pending.authorized()
                if upgrade.asks_for("websocket"):
                    await self._serve_websocket(connection, head, upgrade, request)
                else:
                    await self._serve_spdy(connection, head, upgrade, request)
        except HttpError as error:
            await connection.write(error.response)
        except LimitExceeded as exceeded:
            log.warning("a streaming session was refused: %s", exceeded)
            await connection.write(error_response(exceeded.status, str(exceeded), [("Retry-After", "1")]))
        except BadRequest as error:
            await connection.write(error_response(400, str(error)))

    def _redeem(self, upgrade: UpgradeRequest) -> StreamRequest:
        if upgrade.method not in ("GET", "POST"):
            raise HttpError(405, f"method {upgrade.method} is not allowed", (("Allow", "GET, POST"),))
        _, kind, token = [*upgrade.path.split("/", 2), "", ""][:3]
        request = self._tokens.redeem(token) if kind in KINDS else None
        if request is None or not isinstance(request, KINDS[kind]):
            raise HttpError(404, "404 page not found")
        return request

    async def _serve_spdy(
        self, connection: Connection, head: RequestHead, upgrade: UpgradeRequest, request: StreamRequest
    ) -> None:
        supported = (portforward.PROTOCOL,) if isinstance(request, PortForwardStream) else remotecommand.SPDY_VERSIONS
        version = _negotiate(upgrade, supported)
        if not upgrade.asks_for(SPDY):
            raise HttpError(400, f"unable to upgrade: the request does not ask for {SPDY} or websocket")
        answer = head.switch([("Connection", "Upgrade"), ("Upgrade", SPDY), (VERSION_HEADER, version)])
        await connection.write(answer)
        transport = ConnectionTransport(connection, head.surplus())
        if isinstance(request, PortForwardStream):
            await SpdyForwarder(transport, self._runtime, request.pod_id, self._creation_timeout, self._limits).serve()
        else:
            client = SpdyClientStreams(transport, version, request.options, self._creation_timeout)
            await serve(client, request, self._runtime)

    async def _serve_websocket(
        self, connection: Connection, head: RequestHead, upgrade: UpgradeRequest, request: StreamRequest
    ) -> None:
        from crishim.cri.stream.portforward.websocket import WebSocketForwarder  # late: the library costs 5 MB
        from crishim.cri.stream.remotecommand.websocket import WebSocketClientStreams
        from crishim.cri.stream.websocket.protocol import WebSocket, accept

        subprotocol = _choose(upgrade.values("Sec-WebSocket-Protocol"), request)
        await connection.write(head.switch(accept(upgrade, subprotocol)))
        socket, surplus = WebSocket(), head.surplus()
        if isinstance(request, PortForwardStream) and subprotocol == portforward.TUNNEL:
            transport = TunnelTransport(connection, socket, surplus)
            await SpdyForwarder(transport, self._runtime, request.pod_id, self._creation_timeout, self._limits).serve()
        elif isinstance(request, PortForwardStream):
            await WebSocketForwarder(
                connection, socket, surplus, subprotocol, request.ports, self._runtime, request.pod_id
            ).serve()
        else:
            client = WebSocketClientStreams(connection, socket, surplus, subprotocol, request.options)
            await serve(client, request, self._runtime)


async def _read_head(connection: Connection, head: RequestHead) -> UpgradeRequest:
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT):
            while (request := head.receive_data(await connection.read())) is None:
                await connection.budget.spend()
            await connection.budget.spend(PARSING)
    except TimeoutError:
        raise ConnectionEnded(f"no request within {REQUEST_TIMEOUT:g} s") from None
    return request


def _negotiate(upgrade: UpgradeRequest, supported: tuple[str, ...]) -> str:
    offered = upgrade.values(VERSION_HEADER)
    if not offered:
        raise HttpError(400, f"unable to upgrade: header {VERSION_HEADER} is missing or empty")
    version = remotecommand.negotiate(offered, supported)
    if version is None:
        accepted = tuple(("X-Accepted-Stream-Protocol-Versions", name) for name in supported)
        text = f"unable to negotiate protocol: client supports {offered}, server accepts {[*supported]}"
        raise HttpError(403, f"unable to upgrade: {text}", accepted)
    return version


def _choose(offered: list[str], request: StreamRequest) -> str:
    """Select the WebSocket subprotocol. Raises HttpError."""
    if isinstance(request, PortForwardStream):
        supported: tuple[str, ...] = (portforward.TUNNEL, *websocket_channels.PORT_FORWARD)
    else:
        supported = websocket_channels.REMOTE_COMMAND
    chosen = websocket_channels.select(offered, supported)
    if chosen is None:
        raise HttpError(403, f"requested protocols {offered} are not supported, only {[*supported]}")
    if isinstance(request, PortForwardStream) and chosen != portforward.TUNNEL and not request.ports:
        raise HttpError(400, "port forwarding in this form needs the ports in the request")
    return chosen
