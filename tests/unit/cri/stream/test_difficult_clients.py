"""Clients that are slow, leave, keep windows or do not, and what that does to their sessions."""

import asyncio

import pytest
from websockets.frames import Opcode

from crishim.cri.stream import server as server_module
from crishim.cri.stream.remotecommand.protocol import V4, V5
from crishim.cri.stream.server import StreamServer
from crishim.cri.stream.spdy import streams as spdy_streams
from crishim.cri.stream.websocket import channels
from crishim.pb import cri_pb2 as cri
from tests.support.eventually import eventually
from tests.support.streams.asynchronous import SpdyClient, spdy, websocket
from tests.support.streams.fake_runtime import EndlessSession, FakeRuntime, FakeSession

ERROR, STDIN, STDOUT = 1, 3, 5  # the stream ids of open_all


def url(server: StreamServer, **changes: bool) -> str:
    streams = {"stdin": True, "stdout": True, **changes}
    return server.exec_url(cri.ExecRequest(container_id="c1", cmd=["cat"], **streams))


async def open_all(client: SpdyClient, *more: str) -> None:
    for kind in ("error", "stdin", "stdout", *more):
        await client.open(streamType=kind)


async def test_a_large_output_needs_no_windows(server: StreamServer, runtime: FakeRuntime) -> None:
    """Megabytes reach a client that never opens a window, as Kubernetes' does not."""
    runtime.session = FakeSession(output=bytes(5_000_000), until="at once")
    async with spdy(url(server), V4) as client:
        client.consumes = False
        await open_all(client)
        assert len(await client.text(STDOUT)) == 5_000_000


async def test_a_client_that_keeps_windows_is_served_in_them(server: StreamServer, runtime: FakeRuntime) -> None:
    """After a client's first WINDOW_UPDATE no more is sent than it allowed, until it allows more."""
    runtime.session = FakeSession(output=bytes(5_000_000), until="at once")
    async with spdy(url(server), V4) as client:
        client.consumes = False
        client.session.open_stream({"streamtype": "error"})
        client.session.open_stream({"streamtype": "stdin"})
        client.session.open_stream({"streamtype": "stdout"})
        client.session.consumed(STDOUT, 40_000)  # an early WINDOW_UPDATE, as a sign
        client.flush()
        await client.until(lambda: len(client.received.get(STDOUT, b"")) >= 60_000)
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert len(client.received[STDOUT]) <= 64 * 1024 + 40_000
        client.session.consumed(STDOUT, len(client.received[STDOUT]))
        client.consumes = True
        client.flush()
        assert len(await client.text(STDOUT)) == 5_000_000


@pytest.mark.parametrize("ending", ["abort", "reset", "protocol"])
async def test_a_client_that_leaves_closes_its_session(server: StreamServer, runtime: FakeRuntime, ending: str) -> None:
    """A client that hangs up, goes away politely, or breaks the protocol ends what it started."""
    runtime.session = FakeSession(until="never")
    async with spdy(url(server), V4) as client:
        await open_all(client)
        await client.until(lambda: runtime.opened)
        if ending == "reset":
            for stream in (ERROR, STDIN, STDOUT):
                client.session.reset(stream)
            client.session.go_away()
            client.flush()
        elif ending == "protocol":
            client._writer.write(bytes.fromhex("80020006 00000004 00000001"))
        else:
            client.close()
        async with asyncio.timeout(5):
            await runtime.session.closed.wait()


@pytest.mark.parametrize("transport", ["spdy", "websocket"])
async def test_a_stalled_stdin_does_not_hide_a_client_that_left(
    server: StreamServer, runtime: FakeRuntime, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read while stdin is stalled; that the client is gone shows at the next sign of life."""
    monkeypatch.setattr(spdy_streams, "KEEP_ALIVE", 0.1)
    monkeypatch.setattr(channels, "PONG_INTERVAL", 0.1)
    runtime.session = FakeSession(until="never", stalled=True)
    if transport == "spdy":
        async with spdy(url(server), V4) as client:
            await open_all(client)
            for _ in range(300):
                client.send(STDIN, bytes(32768))
            assert client._writer.transport.get_write_buffer_size() > 0  # the server has stopped reading
    else:
        async with websocket(url(server), V5) as socket:
            for _ in range(300):
                socket.send(bytes(32768))
            assert socket._writer.transport.get_write_buffer_size() > 0
            assert (await socket.frame()).opcode is Opcode.BINARY
            assert (await socket.frame()).opcode is Opcode.PONG  # unasked, or kubectl would give up
    async with asyncio.timeout(5):
        await runtime.session.closed.wait()


@pytest.mark.parametrize("transport", ["spdy", "websocket"])
async def test_a_slow_reader_holds_up_the_session(server: StreamServer, runtime: FakeRuntime, transport: str) -> None:
    """What a client does not read is not read from the command either; it can still type."""
    runtime.session = EndlessSession(until="never")
    if transport == "spdy":
        async with spdy(url(server), V4) as client:
            await open_all(client)
            await client.until(lambda: client.received.get(STDOUT))
            client.pause()
            written = await standstill(runtime.session)
            client.send(STDIN, b"\x03")
            await eventually(lambda: runtime.session.stdin == b"\x03")
    else:
        async with websocket(url(server), V5) as socket:
            await socket.message()
            written = await standstill(runtime.session)
            socket.send(b"\x00\x03")
            await eventually(lambda: runtime.session.stdin == b"\x03")
    assert written < 20_000_000  # the kernel's socket buffers


async def standstill(session: FakeSession) -> int:
    written = -1
    while session.written != written:
        written = session.written
        await asyncio.sleep(0.2)
    return written


async def test_a_client_that_asks_much_and_reads_nothing_has_to_wait(
    server: StreamServer, runtime: FakeRuntime
) -> None:
    """Pings of a client that does not read are not answered without limit: they are not even read."""
    runtime.session = EndlessSession(until="never")
    async with spdy(url(server), V4) as client:
        await open_all(client)
        client.pause()
        await standstill(runtime.session)
        pings = b"".join(bytes.fromhex("80030006 00000004 00000001") for _ in range(500_000))
        client._writer.write(pings)
        await asyncio.sleep(0.3)
        assert client._writer.transport.get_write_buffer_size() > 0


@pytest.mark.fact("reference behaviour")
async def test_an_idle_connection_is_closed(runtime: FakeRuntime) -> None:
    """Nothing moves for the idle time: the session ends."""
    runtime.session = FakeSession(until="never")
    idle = server_module.StreamServer(idle_timeout=0.3)
    await idle.start(runtime, "127.0.0.1", 0)
    async with spdy(url(idle), V4) as client:
        await open_all(client)
        for _ in range(6):  # it is not idle while bytes come
            client.send(STDIN, b"x")
            await asyncio.sleep(0.1)
        assert not client.hung_up
        await client.until(lambda: client.hung_up)
    assert runtime.session.closed.is_set()
    await idle.stop()
