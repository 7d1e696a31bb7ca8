"""crishim/nri/connection.py: peers that lie, flood, do not read, or die in a frame. Each costs its own connection."""

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crishim.nri.connection import MAX_CALLS, MAX_IGNORED
from crishim.nri.mux import MAX_PAYLOAD, PLUGIN_SERVICE, RUNTIME_SERVICE, frames
from crishim.nri.ttrpc import MAX_BODY, Client
from crishim.pb import nri_pb2 as nri
from tests.support.nri_plugin import FakePlugin, Refusal
from tests.support.nri_rig import POD, Join, Node, until

RUNTIME = "nri.pkg.api.v1alpha1.Runtime"


def head(length: int, stream: int = 1, kind: int = 1) -> bytes:
    return struct.pack(">IIBB", length, stream, kind, 0)


def frame(connection: int, payload: bytes) -> bytes:
    return struct.pack(">II", connection, len(payload)) + payload


def request(service: str, method: str, payload: bytes = b"") -> bytes:
    return frames(RUNTIME_SERVICE, Client().request(service, method, payload)[1])


ATTACKS: dict[str, Callable[[], bytes]] = {
    "a frame that claims 4 GiB": lambda: struct.pack(">II", RUNTIME_SERVICE, 0xFFFFFFFF),
    "a frame just above the limit": lambda: struct.pack(">II", 9, MAX_PAYLOAD + 1),
    "a message that claims too much": lambda: frame(RUNTIME_SERVICE, head(MAX_BODY + 1)),
    "a request that is no protobuf": lambda: frame(RUNTIME_SERVICE, head(2) + b"\xff\xff"),
    "a registration that is no protobuf": lambda: request(RUNTIME, "RegisterPlugin", b"\xff\xff"),
    "frames for nobody": lambda: frame(7, b"x") * (MAX_IGNORED + 2),
    "empty frames": lambda: frame(RUNTIME_SERVICE, b"") * (MAX_IGNORED + 2),
    "responses to nothing": lambda: frame(PLUGIN_SERVICE, head(0, kind=2)) * (MAX_IGNORED + 2),
    "bytes for nobody without end": lambda: frame(7, bytes(MAX_PAYLOAD)) * 17,
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_the_peer_is_closed_and_nobody_else_notices(node: Node, join: Join, attack: str) -> None:
    await node.start()
    other = await join()
    assert node.settings.socket
    await closed_by(node.settings.socket, ATTACKS[attack]())
    await node.plugins.run_pod_sandbox(POD)
    assert other.methods() == ["RunPodSandbox"]


async def closed_by(path: Path, data: bytes) -> None:
    """Send it; returns when the runtime has closed the connection."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        async with asyncio.timeout(20):
            for at in range(0, len(data), 1 << 16):
                writer.write(data[at : at + (1 << 16)])
                await writer.drain()
            await reader.read()
    except ConnectionError:
        return
    finally:
        writer.close()


@pytest.mark.parametrize("cut", [1, 7, 8, 12, 20])
async def test_one_that_dies_in_a_frame(node: Node, cut: int) -> None:
    await node.start()
    assert node.settings.socket
    _, writer = await asyncio.open_unix_connection(str(node.settings.socket))
    writer.write(request(RUNTIME, "RegisterPlugin", b"x" * 50)[:cut])
    writer.close()
    await until(lambda: not node.plugins._registrations)


async def test_an_unknown_service_or_method_is_unimplemented(node: Node, join: Join) -> None:
    await node.start()
    plugin = await join()
    with pytest.raises(Refusal, match="method Reboot") as caught:
        await plugin.call("Reboot", nri.Empty(), nri.Empty)
    assert caught.value.code == 12
    assert node.plugins.status()[0].state == "ready"


async def test_calls_without_end_are_refused_and_then_end_the_connection(node: Node, join: Join) -> None:
    """At most MAX_CALLS of them run."""
    await node.start()
    plugin = await join()
    running, most = 0, 0

    async def blocked(update: object) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            running -= 1

    node.update_container = blocked  # type: ignore[method-assign]
    asked = nri.UpdateContainersRequest(update=[nri.ContainerUpdate(container_id="c")])

    def calls(number: int) -> list[asyncio.Task[Any]]:
        work = [plugin.call("UpdateContainers", asked, nri.UpdateContainersResponse) for _ in range(number)]
        return [asyncio.create_task(each) for each in work]

    all_of_them = calls(MAX_CALLS)
    await until(lambda: running == MAX_CALLS)
    all_of_them += calls(MAX_IGNORED + 2)
    results = await asyncio.wait_for(asyncio.gather(*all_of_them, return_exceptions=True), 20)
    assert all(isinstance(result, Refusal | ConnectionError) for result in results)
    assert most == MAX_CALLS
    await until(lambda: running == 0)
    assert "floods" in node.plugins.status()[-1].state


async def test_one_that_does_not_read(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it is bounded, even if it may stay connected."""
    monkeypatch.setattr("crishim.nri.connection.MAX_QUEUED", 1 << 20)
    await node.start(request_timeout=0.05)
    assert node.settings.socket
    plugin = FakePlugin("10", "deaf", policy=nri.FailurePolicy(keep_connected=True))
    await plugin.connect(node.settings.socket)
    await until(lambda: [s.state for s in node.plugins.status()] == ["ready"])
    assert plugin.writer
    plugin.writer.transport.pause_reading()  # type: ignore[attr-defined]
    large = nri.PodSandbox(id="pod", annotations={"x": "y" * (600 << 10)})
    for _ in range(4):
        await node.plugins.run_pod_sandbox(large)
    assert node.plugins.status()[-1].state == "closed: it does not read: 1 MiB wait for it"
    await plugin.close()


async def test_a_handler_that_fails_tells_no_secrets(node: Node, join: Join) -> None:
    await node.start()
    plugin = await join()

    async def broken(update: object) -> None:
        raise RuntimeError("a path of the node")

    node.update_container = broken  # type: ignore[method-assign]
    asked = nri.UpdateContainersRequest(update=[nri.ContainerUpdate(container_id="c")])
    with pytest.raises(Refusal, match=r"^internal error$"):
        await plugin.call("UpdateContainers", asked, nri.UpdateContainersResponse)
