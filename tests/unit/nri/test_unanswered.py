"""event_dispatch.py and plugin.py: plugins that hang, die, or answer nonsense, and their failure policies."""

import asyncio
from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.nri.ttrpc import MAX_BODY
from crishim.pb import nri_pb2 as nri
from tests.support.nri_plugin import FakePlugin, Refusal
from tests.support.nri_rig import CONTAINER, POD, Join, Node, until

FAIL = nri.FailurePolicy(fail_request=True)
KEEP = nri.FailurePolicy(keep_connected=True)


async def hang(request: object) -> None:
    await asyncio.get_running_loop().create_future()


def dying(plugin: list[FakePlugin]) -> Any:
    async def handler(request: object) -> nri.Empty:
        assert plugin[0].writer
        plugin[0].writer.transport.abort()
        return nri.Empty()

    return handler


async def test_a_plugin_that_hangs_is_dropped_and_the_round_goes_on(node: Node, join: Join) -> None:
    await node.start(request_timeout=0.2)
    hanging = await join("10", "hanging", RunPodSandbox=hang)
    after = await join("20", "after")
    await node.plugins.run_pod_sandbox(POD)
    assert after.methods() == ["RunPodSandbox"]
    await asyncio.wait_for(hanging.closed.wait(), 20)
    assert node.plugins.status()[-1].state == "closed: it did not answer RunPodSandbox within 0.2 s"


async def test_a_plugin_that_dies_in_its_call_is_dropped_and_the_round_goes_on(node: Node, join: Join) -> None:
    await node.start()
    it: list[FakePlugin] = []
    it.append(await join("10", "dying", CreateContainer=dying(it)))
    after = await join("20", "after", events=8)
    await node.plugins.create_container(POD, CONTAINER)
    assert after.methods() == ["CreateContainer"]
    assert node.plugins.status()[-1].counters.unanswered == 1


async def test_fail_request_makes_it_the_callers_error(node: Node, join: Join) -> None:
    await node.start(request_timeout=0.2)
    it: list[FakePlugin] = []
    it.append(await join("20", "dying", policy=FAIL, RunPodSandbox=dying(it)))
    await join("10", "hanging", policy=FAIL, RunPodSandbox=hang)
    with pytest.raises(CrishimError) as caught:
        await node.plugins.run_pod_sandbox(POD)
    assert caught.value.kind == Kind.DEADLINE
    assert str(caught.value) == (
        "NRI plugin 10-hanging must be asked for RunPodSandbox, and did not answer RunPodSandbox within 0.2 s"
    )
    with pytest.raises(CrishimError, match="20-dying must be asked for RunPodSandbox, and closed") as caught:
        await node.plugins.run_pod_sandbox(POD)
    assert caught.value.kind == Kind.UNAVAILABLE
    await node.plugins.run_pod_sandbox(POD)


async def test_keep_connected_keeps_it_after_a_timeout(node: Node, join: Join) -> None:
    """Its late answer is dropped, and the next call is answered."""
    await node.start(request_timeout=0.2)
    goes = asyncio.Event()

    async def slow_once(request: object) -> nri.Empty:
        await goes.wait()
        return nri.Empty()

    plugin = await join("10", "slow", policy=KEEP, RunPodSandbox=slow_once)
    await node.plugins.run_pod_sandbox(POD)
    goes.set()
    await node.plugins.run_pod_sandbox(POD)
    assert len(plugin.of("RunPodSandbox")) == 2
    (status,) = node.plugins.status()
    assert (status.state, status.counters.unanswered) == ("ready", 1)


async def test_many_callers_of_a_plugin_that_hangs_wait_once(node: Node, join: Join) -> None:
    """Not one after the other: of ten, two at most are sent, and the others end with them."""
    await node.start(request_timeout=0.2)
    plugin = await join("10", "hanging", policy=KEEP, RunPodSandbox=hang)
    await asyncio.gather(*(node.plugins.run_pod_sandbox(POD) for _ in range(10)))
    assert 1 <= len(plugin.of("RunPodSandbox")) <= 2
    assert node.plugins.status()[0].counters.unanswered == 10


async def test_an_answer_that_is_none_drops_the_plugin(node: Node, join: Join) -> None:
    await node.start()
    await join("10", "x", CreateContainer=lambda request: b"\xff\xff")
    made = await node.plugins.create_container(POD, CONTAINER)
    assert made.adjustment == nri.ContainerAdjustment()
    why = "closed: it answered CreateContainer with what is no CreateContainerResponse"
    await until(lambda: node.plugins.status()[-1].state == why)


async def test_a_handlers_own_deadline_is_an_error_it_answered(node: Node, join: Join) -> None:
    """Of its API server, say: in time, so nobody is dropped and the request fails."""
    await node.start()

    def refuse(request: object) -> None:
        raise Refusal("context deadline exceeded", 4)  # type: ignore[arg-type]

    await join("10", "x", RunPodSandbox=refuse)
    with pytest.raises(CrishimError, match="refused RunPodSandbox: context deadline exceeded"):
        await node.plugins.run_pod_sandbox(POD)
    assert node.plugins.status()[0].state == "ready"


async def test_a_handler_that_ends_at_its_deadline_has_not_answered(node: Node, join: Join) -> None:
    await node.start(request_timeout=0.2)

    async def late(request: object) -> None:
        await asyncio.sleep(0.21)  # what a Go handler does whose context has ended
        raise Refusal("context deadline exceeded", 4)  # type: ignore[arg-type]

    await join("10", "x", RunPodSandbox=late)
    await node.plugins.run_pod_sandbox(POD)
    await until(lambda: "did not answer RunPodSandbox" in node.plugins.status()[-1].state)


async def test_a_pod_too_large_to_tell_is_no_fault_of_the_plugin(node: Node, join: Join) -> None:
    await node.start()
    await join()
    large = nri.PodSandbox(id="pod", annotations={"x": "y" * (5 << 20)})
    with pytest.raises(CrishimError, match="NRI plugin 10-fake cannot be told of RunPodSandbox") as caught:
        await node.plugins.run_pod_sandbox(large)
    assert caught.value.kind == Kind.EXHAUSTED
    await node.plugins.run_pod_sandbox(POD)


async def test_a_caller_that_is_cancelled_leaves_the_plugin_usable(node: Node, join: Join) -> None:
    await node.start()
    plugin = await join("10", "x", RunPodSandbox=hang)
    call = asyncio.create_task(node.plugins.run_pod_sandbox(POD))
    await plugin.seen("RunPodSandbox")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await node.plugins.start_container(POD, CONTAINER)
    assert plugin.methods() == ["RunPodSandbox", "StartContainer"]


async def test_a_request_too_large_to_be_sent_is_no_call(node: Node, join: Join) -> None:
    """It counts neither as answered nor as unanswered: the mean is of what was sent."""
    await node.start()
    await join("10", "small")
    pod = nri.PodSandbox(id="p1", annotations={"a": "x" * MAX_BODY})
    with pytest.raises(CrishimError):
        await node.plugins.run_pod_sandbox(pod)
    (status,) = node.plugins.status()
    assert (status.counters.calls["RunPodSandbox"], status.counters.unanswered) == (0, 0)
