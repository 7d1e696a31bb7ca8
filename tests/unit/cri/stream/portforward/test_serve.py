"""Port forwarding through the server: SPDY, the WebSocket tunnel, the old WebSocket form."""

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest

from crishim.cri.stream.portforward.protocol import PROTOCOL, TUNNEL
from crishim.cri.stream.remotecommand.protocol import V4
from crishim.cri.stream.server import StreamServer
from crishim.cri.stream.spdy.events import DataReceived, StreamEnded, StreamReplied
from crishim.cri.stream.spdy.session import SpdySession
from crishim.cri.stream.spdy.state import FlowControl, Role
from crishim.cri.stream.websocket.channel_codec import BASE64_V4
from crishim.pb import cri_pb2 as cri
from tests.support.eventually import eventually
from tests.support.streams.asynchronous import SpdyClient, spdy, websocket
from tests.support.streams.fake_runtime import FakeRuntime


class Echo:
    """A TCP server that echoes in capitals and ends when its client does."""

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while data := await reader.read(65536):
                writer.write(data.upper())
                await writer.drain()
        except OSError:
            pass
        finally:
            self.open -= 1
            writer.close()


@pytest.fixture
async def echo(runtime: FakeRuntime) -> AsyncIterator[Echo]:
    echo = Echo()
    listener = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    runtime.port = listener.sockets[0].getsockname()[1]
    yield echo
    await eventually(lambda: not echo.open)
    listener.close()
    await listener.wait_closed()


def url(server: StreamServer, *ports: int) -> str:
    return server.port_forward_url(cri.PortForwardRequest(pod_sandbox_id="p1", port=ports))


async def open_pair(client: SpdyClient, request: int, port: str = "80") -> tuple[int, int]:
    headers = {"port": port, "requestID": str(request)}
    return await client.open(streamType="error", **headers), await client.open(streamType="data", **headers)


async def test_connections_over_spdy(server: StreamServer, runtime: FakeRuntime, echo: Echo) -> None:
    """Several connections in one session keep apart, end on their own, and free what they held."""
    async with spdy(url(server), PROTOCOL) as client:
        pairs = [await open_pair(client, n, port=str(8000 + n)) for n in range(5)]
        for number, (_, data) in enumerate(pairs):
            client.send(data, b"hello %d" % number)
        for number, (error, data) in enumerate(pairs):
            client.send(data, b" bye", fin=True)
            assert await client.text(data) == b"HELLO %d BYE" % number
            assert await client.text(error) == b""
        assert sorted(port for _, port in runtime.opened if isinstance(port, int)) == [8000, 8001, 8002, 8003, 8004]
        assert not client.hung_up


async def test_large_transfers_both_ways(server: StreamServer, echo: Echo) -> None:
    """Megabytes pass in both directions at once without windows."""
    async with spdy(url(server), PROTOCOL) as client:
        _, data = await open_pair(client, 1)
        for _ in range(100):
            client.send(data, b"x" * 30_000)
            await client._writer.drain()
        client.send(data, b"", fin=True)
        assert len(await client.text(data)) == 3_000_000


async def test_a_refused_connection_is_explained(server: StreamServer, runtime: FakeRuntime) -> None:
    """The error stream says why, the data stream is reset."""
    runtime.refusal = "nothing listens on port 80"
    async with spdy(url(server), PROTOCOL) as client:
        error, data = await open_pair(client, 1)
        assert b"error forwarding port 80 to pod p1" in await client.text(error)
        assert b"nothing listens on port 80" in client.received[error]
        await client.until(lambda: data in client.reset)


async def test_a_client_that_resets_ends_its_connection(server: StreamServer, echo: Echo) -> None:
    """kubectl resets the data stream when its own side is done: the pod's side ends too, and the error stream, for
    whose end kubectl waits.
    """
    async with spdy(url(server), PROTOCOL) as client:
        error, data = await open_pair(client, 1)
        client.send(data, b"x")
        await client.until(lambda: client.received.get(data) == b"X")
        assert echo.open == 1
        client.session.reset(data)
        client.flush()
        assert await client.text(error) == b""
        assert error in client.ended
        await eventually(lambda: not echo.open)
        assert not client.hung_up


async def test_halves_and_nonsense(server: StreamServer, runtime: FakeRuntime) -> None:
    """A stream that is no half is refused at once, a half that stays alone is reset after a while."""
    async with spdy(url(server), PROTOCOL) as client:
        bad = await client.open(streamType="data", port="0", requestID="1")
        assert client.reset == {bad: 3}
        half = await client.open(streamType="data", port="80", requestID="1")
        await client.until(lambda: half in client.reset)
        assert runtime.opened == []


async def test_leaving_closes_all_connections(server: StreamServer, echo: Echo) -> None:
    """A client that hangs up takes its connections along."""
    async with spdy(url(server), PROTOCOL) as client:
        for number in range(10):
            _, data = await open_pair(client, number)
            client.send(data, b"x")
        await client.until(lambda: echo.open == 10 or echo.connections == 10)
    await eventually(lambda: not echo.open)


@pytest.mark.fact("SPDY and WebSocket")
async def test_the_tunnel(server: StreamServer, echo: Echo) -> None:
    """SPDY in binary messages, cut anywhere, behaves as SPDY on TCP."""
    async with websocket(url(server), TUNNEL) as client:
        inner = SpdySession(Role.CLIENT, flow_control=FlowControl.LEARNED)
        headers = {"port": "80", "requestID": "1"}
        inner.open_stream({"streamType": "error", **headers})
        data = inner.open_stream({"streamType": "data", **headers})
        replied: set[int] = set()
        received = b""
        ended = False
        while not ended:
            for byte in inner.data_to_send():
                client.send(bytes([byte]))
            for event in inner.receive_data(await client.message()):
                if isinstance(event, StreamReplied):
                    replied.add(event.stream)
                    if len(replied) == 2:
                        inner.send_data(data, b"through the tunnel", fin=True)
                received += event.data if isinstance(event, DataReceived) and event.stream == data else b""
                ended = ended or (isinstance(event, StreamEnded) and event.stream == data)
        assert received == b"THROUGH THE TUNNEL"


@pytest.mark.fact("reference behaviour")
@pytest.mark.parametrize("name", ["", V4, BASE64_V4])
async def test_the_old_websocket_form(server: StreamServer, runtime: FakeRuntime, echo: Echo, name: str) -> None:
    """Two channels a port, each opened by the port in little-endian; the data goes both ways."""
    text = "base64" in name

    def encode(channel: int, data: bytes) -> bytes:
        return b"%d" % channel + base64.b64encode(data) if text else bytes([channel]) + data

    async with websocket(url(server, 80, 8080), *([name] if name else [])) as client:
        first = [await client.message() for _ in range(4)]
        assert first == [encode(0, b"\x50\x00"), encode(1, b"\x50\x00"), encode(2, b"\x90\x1f"), encode(3, b"\x90\x1f")]
        client.send(encode(2, b"second"), text=text)
        assert await client.message() == encode(2, b"SECOND")
        client.send(encode(0, b"first"), text=text)
        assert await client.message() == encode(0, b"FIRST")
    assert sorted(port for _, port in runtime.opened if isinstance(port, int)) == [80, 8080]


async def test_the_old_form_explains_a_refused_connection(server: StreamServer, runtime: FakeRuntime) -> None:
    """The error channel says why; when no connection is left the WebSocket ends normally."""
    runtime.refusal = "nothing listens"
    async with websocket(url(server, 80), V4) as client:
        messages = await client.messages()
    assert messages[-1].startswith(b"\x01error forwarding port 80 to pod p1")
    assert client.protocol.close_rcvd is not None
    assert client.protocol.close_rcvd.code == 1000


async def test_the_old_form_needs_ports(server: StreamServer) -> None:
    """Without ports in the request there is nothing to forward."""
    with pytest.raises(AssertionError, match="400"):
        async with websocket(url(server), V4):
            pass
