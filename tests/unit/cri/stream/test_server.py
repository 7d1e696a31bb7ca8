"""crishim/cri/stream/server.py and endpoints.py: addresses, tokens, negotiation, TLS, stopping."""

import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from crishim.cri.stream.remotecommand.protocol import V4, V5
from crishim.cri.stream.server import StreamServer
from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from tests.support.eventually import eventually
from tests.support.streams.asynchronous import ask, connect, spdy, websocket
from tests.support.streams.fake_runtime import FakeRuntime, FakeSession

UPGRADE = ("Connection: Upgrade", "Upgrade: SPDY/3.1")


def exec_request(**changes: object) -> cri.ExecRequest:
    return cri.ExecRequest(container_id="c1", cmd=["cat"], **{"stdin": True, "stdout": True, **changes})  # type: ignore[arg-type]


def status(answer: str) -> int:
    return int(answer.split()[1])


async def test_urls_name_the_server_and_a_token(server: StreamServer) -> None:
    """Scheme, host, port, what for, and eight characters."""
    url = server.exec_url(exec_request())
    assert url.startswith(f"{server.url}/exec/")
    assert len(url.rpartition("/")[2]) == 8
    assert "/attach/" in server.attach_url(cri.AttachRequest(container_id="c", stdout=True))
    assert "/portforward/" in server.port_forward_url(cri.PortForwardRequest(pod_sandbox_id="p"))


@pytest.mark.fact("reference behaviour")
async def test_unknown_used_and_mismatched_tokens_are_not_found(server: StreamServer, runtime: FakeRuntime) -> None:
    """404 for a token that is unknown, was used, or stands for something else."""
    assert status(await ask(f"{server.url}/exec/unknown1", *UPGRADE, f"X-Stream-Protocol-Version: {V4}")) == 404
    url = server.exec_url(exec_request())
    async with spdy(url, V4):
        pass
    assert status(await ask(url, *UPGRADE, f"X-Stream-Protocol-Version: {V4}")) == 404
    other = server.exec_url(exec_request()).replace("/exec/", "/attach/")
    assert status(await ask(other, *UPGRADE, f"X-Stream-Protocol-Version: {V4}")) == 404
    for path in ("/", "/exec", "/exec/", "/x/y/z", "/exec/a/b"):
        assert status(await ask(server.url + path)) == 404
    assert runtime.opened == []


async def test_a_refused_attempt_spends_the_token(server: StreamServer) -> None:
    """Single use means one attempt."""
    url = server.exec_url(exec_request())
    assert status(await ask(url, *UPGRADE)) == 400
    assert status(await ask(url, *UPGRADE, f"X-Stream-Protocol-Version: {V4}")) == 404


@pytest.mark.fact("reference behaviour")
async def test_spdy_versions_are_negotiated(server: StreamServer) -> None:
    """No version header is 400, none of ours 403 with those we have, otherwise the client's first that we know."""
    assert status(await ask(server.exec_url(exec_request()), *UPGRADE)) == 400
    answer = await ask(server.exec_url(exec_request()), *UPGRADE, "X-Stream-Protocol-Version: v9.channel.k8s.io")
    assert status(answer) == 403
    assert answer.lower().count("x-accepted-stream-protocol-versions: ") == 4
    async with spdy(server.exec_url(exec_request()), V5, V4, "v3.channel.k8s.io") as client:
        assert f"x-stream-protocol-version: {V4}\r\n" in client.head.lower()
        assert "connection: upgrade\r\n" in client.head.lower()
        assert "upgrade: spdy/3.1\r\n" in client.head.lower()


@pytest.mark.fact("reference behaviour")
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_get_and_post_are_the_same(server: StreamServer, method: str) -> None:
    """Old clients use GET, the kubelet POST."""
    async with spdy(server.exec_url(exec_request()), V4, method=method):
        pass


async def test_other_requests_are_refused(server: StreamServer) -> None:
    """Another method is 405, no upgrade 400, a WebSocket protocol we have not 403, noise 400."""
    url = server.exec_url(exec_request())
    assert status(await ask(url, *UPGRADE, method="PUT")) == 405
    assert status(await ask(url, f"X-Stream-Protocol-Version: {V4}")) == 400
    handshake = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    handshake += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: v9.channel.k8s.io"]
    assert status(await ask(server.exec_url(exec_request()), *handshake, method="GET")) == 403
    assert status(await ask(server.exec_url(exec_request()), *handshake[:-1], method="POST")) == 400
    reader, writer = await connect(server.url)
    writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    assert status((await reader.read()).decode()) == 400
    writer.close()


async def test_a_port_forward_over_spdy_speaks_its_own_protocol(server: StreamServer) -> None:
    """portforward.k8s.io, and not the remote command's."""
    request = cri.PortForwardRequest(pod_sandbox_id="p")
    assert status(await ask(server.port_forward_url(request), *UPGRADE, f"X-Stream-Protocol-Version: {V4}")) == 403
    async with spdy(server.port_forward_url(request), "portforward.k8s.io"):
        pass


async def test_stopping_closes_all_sessions(runtime: FakeRuntime) -> None:
    """stop() returns when every session is closed, and clients see the end."""
    server = StreamServer()
    await server.start(runtime, "127.0.0.1", 0)
    url, idle = server.exec_url(exec_request()), await connect(server.url)
    async with websocket(url, V5) as client:
        await client.message()
        await eventually(lambda: runtime.opened)
        await server.stop()
        assert runtime.session.closed.is_set()
    assert await idle[0].read() == b""
    idle[1].close()
    with pytest.raises(OSError):
        await connect(url)
    await server.stop()


async def test_before_the_start_there_are_no_urls(runtime: FakeRuntime) -> None:
    """A URL that nobody serves is not handed out."""
    server = StreamServer()
    with pytest.raises(CrishimError) as caught:
        server.exec_url(exec_request())
    assert caught.value.kind is Kind.UNAVAILABLE


async def test_an_address_in_use_is_named(server: StreamServer, runtime: FakeRuntime) -> None:
    """The error says which address and port."""
    other = StreamServer()
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(CrishimError, match=f"127.0.0.1 port {port}") as caught:
        await other.start(runtime, "127.0.0.1", port)
    assert caught.value.kind is Kind.UNAVAILABLE


@pytest.mark.parametrize(
    ("address", "expected"), [("0.0.0.0", "http://127.0.0.1:"), ("::1", "http://[::1]:"), ("::", "http://[::1]:")]
)
async def test_urls_of_other_addresses(runtime: FakeRuntime, address: str, expected: str) -> None:
    """Clients run on this node: an address that means all becomes the loopback, IPv6 is bracketed."""
    server = StreamServer()
    await server.start(runtime, address, 0)
    assert server.url.startswith(expected)
    runtime.session = FakeSession(until="at once")
    async with websocket(server.exec_url(exec_request()), V5) as client:
        await client.messages()
    await server.stop()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-out", str(cert), "-keyout", str(key)], check=True, capture_output=True)
    return cert, key


async def test_tls(runtime: FakeRuntime, certificate: tuple[Path, Path]) -> None:
    """With a certificate the URL is https and a client that trusts it is served."""
    cert, key = certificate
    server = StreamServer(tls_cert=str(cert), tls_key=str(key))
    await server.start(runtime, "127.0.0.1", 0)
    assert server.url.startswith("https://127.0.0.1:")
    async with spdy(server.exec_url(exec_request()), V4, tls=ssl.create_default_context(cafile=str(cert))) as client:
        for kind in ("error", "stdin", "stdout"):
            await client.open(streamType=kind)
        client.send(3, b"x" * 200_000, fin=True)
        assert await client.text(5) == b"x" * 200_000
        assert b"Success" in await client.text(1)
    await server.stop()


async def test_unusable_tls_files(runtime: FakeRuntime, tmp_path: Path) -> None:
    """A missing or broken certificate is INVALID and names the file."""
    server = StreamServer(tls_cert="/none", tls_key="/none")
    with pytest.raises(CrishimError, match="/none") as caught:
        await server.start(runtime, "127.0.0.1", 0)
    assert caught.value.kind is Kind.INVALID


def test_the_websocket_library_is_loaded_late() -> None:
    """It costs 5 MB, and a node whose clients are kubelets never needs it."""
    code = "import sys, crishim.cri.stream.server; sys.exit('websockets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
