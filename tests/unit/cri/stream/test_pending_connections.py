"""crishim/cri/stream/listener.py: connections that show no token, slow handshakes, and refusals for want of room."""

import asyncio
import os
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crishim.cri.stream import listener
from crishim.cri.stream.limits import Limits
from crishim.cri.stream.portforward.protocol import PROTOCOL
from crishim.cri.stream.remotecommand.protocol import V4, V5
from crishim.cri.stream.server import StreamServer
from crishim.pb import cri_pb2 as cri
from tests.support.eventually import eventually
from tests.support.streams.asynchronous import SpdyClient, ask, connect, request, spdy, websocket
from tests.support.streams.fake_runtime import FakeRuntime, FakeSession

UPGRADE = ("Connection: Upgrade", "Upgrade: SPDY/3.1", f"X-Stream-Protocol-Version: {V4}")


@pytest.fixture
async def small(runtime: FakeRuntime) -> AsyncIterator[StreamServer]:
    """A server with room for 16 pending connections and 4 sessions."""
    before = len(os.listdir("/proc/self/fd"))
    limits = Limits(sessions=4, streams=8, descriptors=64)
    assert limits.pending == 16
    server = StreamServer(limits=limits)
    await server.start(runtime, "127.0.0.1", 0)
    yield server
    await server.stop()
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)


def exec_url(server: StreamServer, container: str = "c1") -> str:
    return server.exec_url(cri.ExecRequest(container_id=container, cmd=["cat"], stdin=True, stdout=True))


async def test_idle_connections_give_way(small: StreamServer, runtime: FakeRuntime) -> None:
    """Of a hundred connections that say next to nothing the first are told 503; who has a token is served."""
    before = len(os.listdir("/proc/self/fd"))
    idle = [await connect(small.url) for _ in range(100)]
    for _, writer in idle[50:]:
        writer.write(b"GET /exec/")
    async with spdy(exec_url(small), V4) as client:
        for kind in ("error", "stdin", "stdout"):
            await client.open(streamType=kind)
        client.send(3, b"served", fin=True)
        assert await client.text(5) == b"served"
        assert len(os.listdir("/proc/self/fd")) <= before + 100 + 16 + 10
    async with asyncio.timeout(10):
        answer = await idle[0][0].read()
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"retry-after: 1" in answer.lower()
    for _, writer in idle:
        writer.transport.abort()


async def test_a_session_is_not_pending(small: StreamServer, runtime: FakeRuntime) -> None:
    """A connection whose token was good stays, however many come after it and however quiet it is."""
    runtime.session = FakeSession(until="never")
    async with websocket(exec_url(small), V5) as client:
        await client.message()
        idle = [await connect(small.url) for _ in range(50)]
        assert (await idle[0][0].read()).startswith(b"HTTP/1.1 503 ")
        client.send(b"\x00still here")
        assert await client.message() == b"\x01still here"
        for _, writer in idle:
            writer.transport.abort()


@pytest.mark.parametrize("same", [True, False])
async def test_sessions_beyond_the_limit_are_refused(small: StreamServer, runtime: FakeRuntime, same: bool) -> None:
    """429 for the second of one container, 503 for the fifth of all; room comes back when a session ends."""
    runtime.session = FakeSession(until="never")
    open_clients = []
    for number in range(1 if same else 4):
        context = spdy(exec_url(small, f"c{number}"), V4)
        await context.__aenter__()
        open_clients.append(context)
    url = exec_url(small, "c0" if same else "c9")
    answer = await ask(url, *UPGRADE)
    assert answer.startswith("HTTP/1.1 429 Too Many Requests" if same else "HTTP/1.1 503 Service Unavailable")
    assert "retry-after: 1" in answer.lower()
    assert "streaming sessions" in answer
    for context in open_clients:
        await context.__aexit__(None, None, None)
    await eventually(lambda: not small._limits._sessions.used)
    async with spdy(exec_url(small, "c0"), V4):
        pass


async def test_streams_beyond_the_limit_are_refused(small: StreamServer, runtime: FakeRuntime) -> None:
    """Halves count: the ninth is reset with REFUSED_STREAM; one that was reset makes room."""
    async with spdy(small.port_forward_url(cri.PortForwardRequest(pod_sandbox_id="p")), PROTOCOL) as client:
        halves = [await half(client, n) for n in range(9)]
        assert client.reset == {halves[8]: 3}
        client.session.reset(halves[0])
        assert await half(client, 10) in client.replied


async def half(client: SpdyClient, number: int) -> int:
    return await client.open(streamType="data", port="80", requestID=str(number))


async def test_pairs_beyond_the_limit_are_refused(small: StreamServer, runtime: FakeRuntime) -> None:
    """A client that resets its pairs at once has no more connections under way than one that keeps them."""
    under_way, most, release = 0, 0, asyncio.Event()

    async def slow(pod_id: str, port: int) -> object:
        nonlocal under_way, most
        under_way, most = under_way + 1, max(most, under_way + 1)
        try:
            while not release.is_set():  # making a socket cannot be cancelled
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue
            raise asyncio.CancelledError
        finally:
            under_way -= 1

    runtime.open_port = slow  # type: ignore[assignment,method-assign]
    async with spdy(small.port_forward_url(cri.PortForwardRequest(pod_sandbox_id="p")), PROTOCOL) as client:
        for number in range(100):
            headers = {"port": "80", "requestid": str(number)}
            error = client.session.open_stream({"streamtype": "error", **headers})
            data = client.session.open_stream({"streamtype": "data", **headers})
            if number % 10 == 0:  # otherwise it is reset before it has begun
                client.flush()
                await half(client, 1000 + number)
            client.session.reset(data)
            client.session.reset(error)
        client.flush()
        await eventually(lambda: under_way)
        assert most <= 4
        release.set()
        await eventually(lambda: not under_way)


async def test_a_slow_head_is_given_up(small: StreamServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends its head byte by byte has REQUEST_TIMEOUT, not REQUEST_TIMEOUT for each byte."""
    monkeypatch.setattr("crishim.cri.stream.endpoints.REQUEST_TIMEOUT", 0.3)
    reader, writer = await connect(small.url)
    head = request(small.url + "/exec/x", "X: " + "y" * 1000)
    async with asyncio.timeout(10):
        for byte in head:
            if reader.at_eof():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)
        assert await reader.read() == b""
    writer.transport.abort()


@pytest.mark.parametrize("head", [b"X: y\r\n" * 200, b"X: " + b"y" * 40_000 + b"\r\n"], ids=["lines", "bytes"])
async def test_heads_that_are_bombs(small: StreamServer, head: bytes) -> None:
    """Too many lines or bytes are 400."""
    reader, writer = await connect(small.url)
    writer.write(b"GET /exec/x HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.transport.abort()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-out", str(cert), "-keyout", str(key)], check=True, capture_output=True)
    return cert, key


async def test_slow_tls_handshakes_give_way(
    runtime: FakeRuntime, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that begin no handshake, or do not finish it, count from accept on and are dropped for new ones."""
    monkeypatch.setattr(listener, "REQUEST_TIMEOUT", 2.0)
    cert, key = certificate
    server = StreamServer(tls_cert=str(cert), tls_key=str(key), limits=Limits(descriptors=64),
    )  # fmt: skip
    before = len(os.listdir("/proc/self/fd"))
    await server.start(runtime, "127.0.0.1", 0)
    slow = [await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2])) for _ in range(60)]
    for _, writer in slow[30:]:
        writer.write(b"\x16\x03\x01\x02\x00\x01")
    async with spdy(exec_url(server), V4, tls=ssl.create_default_context(cafile=str(cert))) as client:
        for kind in ("error", "stdin", "stdout"):
            await client.open(streamType=kind)
        client.send(3, b"x" * 200_000, fin=True)
        assert await client.text(5) == b"x" * 200_000
        await eventually(lambda: len(server._listener.pending) <= 16)  # type: ignore[union-attr]
        assert len(os.listdir("/proc/self/fd")) <= before + 60 + 16 + 10
    await eventually(lambda: not server._listener.pending)  # type: ignore[union-attr]  # after REQUEST_TIMEOUT
    for _, writer in slow:
        writer.transport.abort()
    await server.stop()
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)


async def test_waiting_anew_loses_no_connection(small: StreamServer, runtime: FakeRuntime) -> None:
    """What the listener waits with is replaced at any time, also when a connection has just come."""
    for _ in range(20):
        reader, writer = await connect(small.url)
        small._renew()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        small._renew()
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
        small._renew()
        writer.transport.abort()
