"""Exec and attach through the server, over both transports, to sessions that need no container."""

import asyncio
import base64
import json

import pytest
from websockets.frames import Opcode

from crishim.cri.stream.remotecommand.protocol import V1, V2, V3, V4, V5
from crishim.cri.stream.server import StreamServer
from crishim.cri.stream.websocket.channel_codec import BASE64_V1, BASE64_V4
from crishim.pb import cri_pb2 as cri
from tests.support.eventually import eventually
from tests.support.streams.asynchronous import SpdyClient, spdy, websocket
from tests.support.streams.fake_runtime import FakeRuntime, FakeSession

ERROR, STDIN, STDOUT = 1, 3, 5  # the stream ids of open_all


def url(server: StreamServer, **changes: bool) -> str:
    streams = {"stdin": True, "stdout": True, **changes}
    return server.exec_url(cri.ExecRequest(container_id="c1", cmd=["cat"], **streams))


async def open_all(client: SpdyClient, *more: str) -> None:
    for kind in ("error", "stdin", "stdout", *more):
        await client.open(streamType=kind)


@pytest.mark.fact("SPDY and WebSocket")
@pytest.mark.parametrize("version", [V1, V2, V3, V4])
async def test_bytes_go_both_ways_over_spdy(server: StreamServer, runtime: FakeRuntime, version: str) -> None:
    """stdin reaches the session, stdout the client, and every version reports success in its own way."""
    async with spdy(url(server), version) as client:
        await open_all(client)
        client.send(STDIN, b"hello ")
        client.send(STDIN, b"world", fin=True)
        assert await client.text(STDOUT) == b"hello world"
        report = await client.text(ERROR)
        assert json.loads(report)["status"] == "Success" if version == V4 else report == b""
        await client.until(lambda: client.gone_away and client.hung_up)
    assert runtime.session.stdin == b"hello world"
    assert runtime.session.closed.is_set()


@pytest.mark.fact("exit codes")
@pytest.mark.parametrize("version", [V2, V4])
async def test_exit_codes_over_spdy(server: StreamServer, runtime: FakeRuntime, version: str) -> None:
    """A non-zero exit is a number from version 4 on and a text before; the outputs come whole."""
    runtime.session = FakeSession(exit_code=42, output=b"out", errors=b"err", until="at once")
    async with spdy(url(server, stderr=True), version) as client:
        await open_all(client, "stderr")
        assert await client.text(STDOUT) == b"out"
        assert await client.text(7) == b"err"
        report = await client.text(ERROR)
        assert b'{"reason":"ExitCode","message":"42"}' in report if version == V4 else b"42" in report


@pytest.mark.parametrize("how", ["open", "wait"])
async def test_a_failure_is_reported(server: StreamServer, runtime: FakeRuntime, how: str) -> None:
    """Whether the session cannot be opened or ends without an exit code: the client gets the text."""
    runtime.session = FakeSession(failure="it broke")
    runtime.refusal = "it broke" if how == "open" else ""
    async with spdy(url(server), V4) as client:
        await open_all(client)
        status = json.loads(await client.text(ERROR))
        assert (status["reason"], "it broke" in status["message"]) == ("InternalError", True)
    assert runtime.session.closed.is_set() == (how == "wait")


async def test_terminal_sizes_over_spdy(server: StreamServer, runtime: FakeRuntime) -> None:
    """With a terminal the client opens a resize stream; the sizes reach the session."""
    async with spdy(url(server, tty=True), V4) as client:
        await open_all(client, "resize")
        client.send(7, b'{"Width":80,"Hei')
        client.send(7, b'ght":24}{"Width":100,"Height":50}')
        await client.until(lambda: runtime.opened)
        await eventually(lambda: (100, 50) in runtime.session.sizes)
        client.send(STDIN, b"", fin=True)
        await client.text(ERROR)


@pytest.mark.fact("reference behaviour")
async def test_streams_that_do_not_come(server: StreamServer, runtime: FakeRuntime) -> None:
    """A client that does not open all its streams in time is dropped, and nothing was started."""
    async with spdy(url(server), V4) as client:
        await client.open(streamType="error")
        await client.until(lambda: client.hung_up)
    assert runtime.opened == []


async def test_streams_nobody_asked_for_are_refused(server: StreamServer, runtime: FakeRuntime) -> None:
    """An unknown type, a second stdin, a stderr that is not wanted: reset with REFUSED_STREAM, the rest goes on."""
    async with spdy(url(server), V4) as client:
        first = await client.open(streamType="stderr")
        second = await client.open(streamType="nonsense")
        for kind in ("error", "stdin", "stdin", "stdout"):
            await client.open(streamType=kind)
        assert client.reset == {first: 3, second: 3, 9: 3}
        client.send(7, b"x", fin=True)
        assert await client.text(11) == b"x"


@pytest.mark.fact("SPDY and WebSocket")
@pytest.mark.parametrize("name", ["", V1, V4, V5, BASE64_V1, BASE64_V4])
async def test_every_websocket_form(server: StreamServer, runtime: FakeRuntime, name: str) -> None:
    """An empty message first, bytes both ways, and the report in the form's own encoding."""
    runtime.session = FakeSession(exit_code=3, until="never")
    text = "base64" in name

    def encode(channel: int, data: bytes) -> bytes:
        return b"%d" % channel + base64.b64encode(data) if text else bytes([channel]) + data

    async with websocket(url(server), *([name] if name else [])) as client:
        frame = await client.frame()
        assert bytes(frame.data) == encode(1, b"")
        assert frame.opcode is (Opcode.TEXT if text else Opcode.BINARY)
        client.send(encode(0, b"hello"), text=text)
        assert await client.message() == encode(1, b"hello")
        runtime.session._end()
        messages = await client.messages()
    status = b"NonZeroExitCode" in base64.b64decode(messages[-1][1:]) if text else b"NonZeroExitCode" in messages[-1]
    assert messages[-1][:1] == encode(3, b"")[:1]
    assert status == (name in (V4, V5, BASE64_V4))


async def test_version_5_ends_stdin(server: StreamServer, runtime: FakeRuntime) -> None:
    """The close signal ends stdin and nothing else."""
    async with websocket(url(server), V5) as client:
        await client.message()
        client.send(b"\x00last words")
        client.send(b"\xff\x00")
        messages = await client.messages()
    assert messages[0] == b"\x01last words"
    assert json.loads(messages[1][1:])["status"] == "Success"


@pytest.mark.fact("reference behaviour")
@pytest.mark.parametrize(
    ("streams", "first"), [({"stdout": False, "stderr": True}, b"\x02"), ({"stdout": False}, b"\x03")]
)
async def test_the_empty_message_goes_to_the_lowest_channel(
    server: StreamServer, streams: dict[str, bool], first: bytes
) -> None:
    """stdout, else stderr, else the error channel."""
    async with websocket(url(server, **streams), V4) as client:
        assert await client.message() == first


async def test_resizing_over_websocket(server: StreamServer, runtime: FakeRuntime) -> None:
    """Channel 4 carries sizes."""
    async with websocket(url(server, tty=True), V5) as client:
        await client.message()
        client.send(b'\x04{"Width":90,"Height":30}')
        client.send(b"\x09ignored")
        client.send(b"\xff\x00")
        await client.messages()
    assert runtime.session.sizes in ([(90, 30)], [])  # the session may have ended first


async def test_a_broken_message_closes_with_a_reason(server: StreamServer, runtime: FakeRuntime) -> None:
    """A base64 message that is none: code 1002, and the session is closed."""
    runtime.session = FakeSession(until="never")
    async with websocket(url(server), BASE64_V4) as client:
        await client.message()
        client.send(b"0%%%", text=True)
        frame = await client.frame()
        assert frame.opcode is Opcode.CLOSE
        assert client.protocol.close_rcvd is not None
        assert client.protocol.close_rcvd.code == 1002
        async with asyncio.timeout(5):
            await runtime.session.closed.wait()


async def test_attach_names_its_streams(server: StreamServer, runtime: FakeRuntime) -> None:
    """What the request asks for reaches the one who attaches."""
    request = cri.AttachRequest(container_id="c2", stdin=True, stdout=True, tty=True)
    async with websocket(server.attach_url(request), V5) as client:
        client.send(b"\xff\x00")
        await client.messages()
    assert runtime.opened == [("c2", {"stdin": True, "stdout": True, "stderr": False, "tty": True})]
