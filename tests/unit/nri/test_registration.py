"""crishim/nri/registration.py: how plugins come, and who is turned away."""

import asyncio

import pytest

from crishim.nri.plugins import MAX_CONNECTIONS
from crishim.pb import nri_pb2 as nri
from tests.support.nri_plugin import FakePlugin, Refusal
from tests.support.nri_rig import CONTAINER, POD, Join, Node, until


def why(node: Node) -> str:
    """Why the last plugin is gone."""
    return node.plugins.status()[-1].state


async def test_what_configure_says(node: Node, join: Join) -> None:
    await node.start(registration_timeout=5.0, request_timeout=2.5, runtime_version="1.2")
    plugin = await join()
    assert [name for name, _ in plugin.requests] == ["Configure", "Synchronize"]
    assert plugin.of("Configure")[0] == nri.ConfigureRequest(
        runtime_name="crishim",
        runtime_version="1.2",
        registration_timeout=5000,
        request_timeout=2500,
        NRI_version="v0.12.5",
    )
    (status,) = node.plugins.status()
    assert (status.label, status.state, len(status.events)) == ("10-fake", "ready", 14)
    assert status.counters.calls == {"Configure": 1, "Synchronize": 1}
    assert 0 < status.counters.longest <= status.counters.seconds


@pytest.mark.parametrize(
    ("index", "name", "sentence"),
    [
        ("1", "x", 'the plugin registers with the index "1", which is not two digits'),
        ("١٢", "x", 'registers with the index "١٢"'),
        ("10", "", 'the plugin registers with the name "", not 1 to 128'),
        ("10", "a b", 'registers with the name "a b"'),
        ("10", "x\n", 'registers with the name "x\n"'),
        ("10", "x" * 129, "registers with the name"),
    ],
)
async def test_bad_names_are_refused_by_name(node: Node, index: str, name: str, sentence: str) -> None:
    """The plugin is told, and its connection closed."""
    await node.start()
    assert node.settings.socket
    plugin = FakePlugin(index, name)
    with pytest.raises(Refusal) as caught:
        await plugin.connect(node.settings.socket)
    assert sentence in str(caught.value)
    await asyncio.wait_for(plugin.closed.wait(), 20)
    await plugin.close()
    assert node.plugins.status() == []


async def test_who_registers_twice_is_told_so(node: Node, join: Join, caplog: pytest.LogCaptureFixture) -> None:
    await node.start()
    plugin = await join()
    with pytest.raises(Refusal, match="has registered before"):
        await plugin.register()
    assert "an NRI plugin registers twice" in caplog.messages
    await node.plugins.run_pod_sandbox(POD)
    assert plugin.methods() == ["RunPodSandbox"]


async def test_a_silent_client_blocks_nobody_and_is_closed(node: Node, join: Join) -> None:
    """Nor does one that never answers Configure: they wait beside the others."""
    await node.start(registration_timeout=0.5)
    assert node.settings.socket
    silent, writer = await asyncio.open_unix_connection(str(node.settings.socket))
    stuck = FakePlugin("05", "stuck", Configure=lambda request: asyncio.get_running_loop().create_future())
    await stuck.connect(node.settings.socket)
    plugin = await join()
    await node.plugins.run_pod_sandbox(POD)
    assert plugin.methods() == ["RunPodSandbox"]
    assert await asyncio.wait_for(silent.read(), 20) == b""
    writer.close()
    await asyncio.wait_for(stuck.closed.wait(), 20)
    await stuck.close()
    assert "did not answer Configure within 2 s" in why(node)


async def test_events_nobody_knows(node: Node) -> None:
    await node.start()
    assert node.settings.socket
    plugin = FakePlugin("10", "x", events=1 << 14)
    await plugin.connect(node.settings.socket)
    await asyncio.wait_for(plugin.closed.wait(), 20)
    await plugin.close()
    await until(lambda: why(node) == "closed: it subscribes to events nobody knows: 0x4000")


@pytest.mark.parametrize("method", ["Configure", "Synchronize"])
async def test_who_refuses_to_be_taken_in_is_not(node: Node, method: str) -> None:
    await node.start()

    def refuse(request: object) -> None:
        raise Refusal("I will not")

    assert node.settings.socket
    plugin = FakePlugin("10", "x")
    plugin.handlers[method] = refuse
    await plugin.connect(node.settings.socket)
    await asyncio.wait_for(plugin.closed.wait(), 20)
    await plugin.close()
    await until(lambda: why(node) == f"closed: it refused {method}: I will not")
    await node.plugins.run_pod_sandbox(POD)


async def test_too_many_connections(node: Node, join: Join) -> None:
    """The one above the number is closed; when another goes there is room again."""
    await node.start()
    assert node.settings.socket
    path = str(node.settings.socket)
    crowd = [await asyncio.open_unix_connection(path) for _ in range(MAX_CONNECTIONS)]
    reader, writer = await asyncio.open_unix_connection(path)
    assert await asyncio.wait_for(reader.read(), 20) == b""
    for _, other in [*crowd, (reader, writer)]:
        other.close()
    await until(lambda: not node.plugins._registrations)
    await join()


async def test_a_plugin_that_goes_is_not_called_any_more(node: Node, join: Join) -> None:
    await node.start()
    first, second = await join("10", "first"), await join("20", "second")
    await first.close()
    await until(lambda: why(node) == "closed: it closed its connection")
    await node.plugins.create_container(POD, CONTAINER)
    assert second.methods() == ["CreateContainer", "ValidateContainerAdjustment"]
    assert [s.label for s in node.plugins.status()] == ["20-second", "10-first"]


async def test_close_leaves_nothing(node: Node, join: Join) -> None:
    await node.start()
    plugin = await join()
    await node.plugins.close()
    await asyncio.wait_for(plugin.closed.wait(), 20)
    assert node.settings.socket
    assert not node.settings.socket.exists()
    await node.plugins.close()
