"""From one accepted connection to what is served over it: read the head, redeem the token, negotiate, serve.

    GET or POST /exec/TOKEN, /attach/TOKEN, /portforward/TOKEN

    Upgrade: websocket   a channel subprotocol (none: the oldest), or for port-forward the SPDY tunnel; else 403
    Upgrade: SPDY/3.1    X-Stream-Protocol-Version: 400 without, 403 if none of its versions is ours

A token is spent by the attempt, even one that is refused, as by the reference server.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from crishim.cri.stream import portforward, remotecommand
from crishim.cri.stream.carriers import Direct, Tunnel
from crishim.cri.stream.connection import Connection, ConnectionEnded
from crishim.cri.stream.http_upgrade import BadRequest, Request, RequestHead, refusal
from crishim.cri.stream.limits import Full, Limits
from crishim.cri.stream.listener import PATIENCE
from crishim.cri.stream.remote_command import serve
from crishim.cri.stream.requests import Attach, Exec, PortForward, Waiting
from crishim.cri.stream.sessions import Openers, Session
from crishim.cri.stream.spdy.forward import SpdyForwarder
from crishim.cri.stream.spdy.remote import SpdyBundle
from crishim.cri.stream.tokens import Tokens
from crishim.cri.stream.websocket import channel_codec as websocket_channels

log = logging.getLogger(__name__)

PARSING = 32  # units of work (pace.py) that a request costs
SPDY = "SPDY/3.1"
VERSION_HEADER = "X-Stream-Protocol-Version"
KINDS = {"exec": Exec, "attach": Attach, "portforward": PortForward}


class Refused(Exception):
    """The request is answered with an HTTP status."""

    def __init__(self, status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(text)
        self.answer = refusal(status, text, headers)


class Endpoints:
    """What the server's connections share."""

    def __init__(
        self,
        tokens: Tokens[Waiting],
        openers: Openers,
        creation_timeout: float,
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._tokens = tokens
        self._openers = openers
        self._creation_timeout = creation_timeout

    async def serve(self, connection: Connection, welcome: Callable[[], None]) -> None:
        """Serve one connection to the end of its session. ConnectionEnded, alone or in groups.

        welcome is called when its request has shown a token that is good, and there is room for a session.
        """
        head = RequestHead()
        try:
            request = await _read_head(connection, head)
            waiting = self._redeem(request)
            with self._limits.session(waiting):
                welcome()
                if request.upgrades_to("websocket"):
                    await self._serve_websocket(connection, head, request, waiting)
                else:
                    await self._serve_spdy(connection, head, request, waiting)
        except Refused as refused:
            await connection.write(refused.answer)
        except Full as full:
            log.warning("a streaming session was refused: %s", full)
            await connection.write(refusal(full.status, str(full), [("Retry-After", "1")]))
        except BadRequest as error:
            await connection.write(refusal(400, str(error)))

    def _redeem(self, request: Request) -> Waiting:
        if request.method not in ("GET", "POST"):
            raise Refused(405, f"method {request.method} is not allowed", (("Allow", "GET, POST"),))
        _, kind, token = [*request.path.split("/", 2), "", ""][:3]
        waiting = self._tokens.redeem(token) if kind in KINDS else None
        if waiting is None or not isinstance(waiting, KINDS[kind]):
            raise Refused(404, "404 page not found")
        return waiting

    async def _serve_spdy(self, connection: Connection, head: RequestHead, request: Request, waiting: Waiting) -> None:
        supported = (portforward.PROTOCOL,) if isinstance(waiting, PortForward) else remotecommand.SPDY_VERSIONS
        version = _negotiate(request, supported)
        if not request.upgrades_to(SPDY):
            raise Refused(400, f"unable to upgrade: the request does not ask for {SPDY} or websocket")
        answer = head.switch([("Connection", "Upgrade"), ("Upgrade", SPDY), (VERSION_HEADER, version)])
        await connection.write(answer)
        carrier = Direct(connection, head.surplus())
        if isinstance(waiting, PortForward):
            await SpdyForwarder(carrier, self._openers, waiting.pod_id, self._creation_timeout, self._limits).serve()
        else:
            bundle = SpdyBundle(carrier, version, waiting.wanted, self._creation_timeout)
            await serve(bundle, waiting.wanted, self._opener(waiting))

    async def _serve_websocket(
        self, connection: Connection, head: RequestHead, request: Request, waiting: Waiting
    ) -> None:
        from crishim.cri.stream.websocket.forward import WebSocketForwarder  # late: the library costs 5 MB
        from crishim.cri.stream.websocket.protocol import WebSocket, accept
        from crishim.cri.stream.websocket.remote import WebSocketBundle

        offered = request.values("Sec-WebSocket-Protocol")
        chosen = _choose(offered, waiting)
        await connection.write(head.switch(accept(request, chosen)))
        socket, surplus = WebSocket(), head.surplus()
        if isinstance(waiting, PortForward) and chosen == portforward.TUNNEL:
            carrier = Tunnel(connection, socket, surplus)
            await SpdyForwarder(carrier, self._openers, waiting.pod_id, self._creation_timeout, self._limits).serve()
        elif isinstance(waiting, PortForward):
            await WebSocketForwarder(
                connection, socket, surplus, chosen, waiting.ports, self._openers, waiting.pod_id
            ).serve()
        else:
            bundle = WebSocketBundle(connection, socket, surplus, chosen, waiting.wanted)
            await serve(bundle, waiting.wanted, self._opener(waiting))

    def _opener(self, waiting: Exec | Attach) -> Callable[[], Awaitable[Session]]:
        if isinstance(waiting, Exec):
            return lambda: self._openers.open_exec(waiting.container_id, waiting.spec)
        return lambda: self._openers.open_attach(waiting.container_id, **waiting.wanted._asdict())


async def _read_head(connection: Connection, head: RequestHead) -> Request:
    try:
        async with asyncio.timeout(PATIENCE):
            while (request := head.receive_data(await connection.read())) is None:
                await connection.share.spend()
            await connection.share.spend(PARSING)
    except TimeoutError:
        raise ConnectionEnded(f"no request within {PATIENCE:g} s") from None
    return request


def _negotiate(request: Request, supported: tuple[str, ...]) -> str:
    offered = request.values(VERSION_HEADER)
    if not offered:
        raise Refused(400, f"unable to upgrade: header {VERSION_HEADER} is missing or empty")
    version = remotecommand.negotiate(offered, supported)
    if version is None:
        accepted = tuple(("X-Accepted-Stream-Protocol-Versions", name) for name in supported)
        text = f"unable to negotiate protocol: client supports {offered}, server accepts {[*supported]}"
        raise Refused(403, f"unable to upgrade: {text}", accepted)
    return version


def _choose(offered: list[str], waiting: Waiting) -> str:
    """The WebSocket subprotocol to speak."""
    if isinstance(waiting, PortForward):
        supported: tuple[str, ...] = (portforward.TUNNEL, *websocket_channels.PORT_FORWARD)
    else:
        supported = websocket_channels.REMOTE_COMMAND
    chosen = websocket_channels.select(offered, supported)
    if chosen is None:
        raise Refused(403, f"requested protocols {offered} are not supported, only {[*supported]}")
    if isinstance(waiting, PortForward) and chosen != portforward.TUNNEL and not waiting.ports:
        raise Refused(400, "port forwarding in this form needs the ports in the request")
    return chosen
