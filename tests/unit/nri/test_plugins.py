"""crishim/nri/plugins.py: events and who gets them."""

import asyncio

import pytest

from crishim.errors import CrishimError, Kind
from crishim.nri.events import EVENTS
from crishim.nri.ttrpc import Code
from crishim.nri.validator import Validator
from crishim.pb import nri_pb2 as nri
from tests.support.nri_plugin import Refusal
from tests.support.nri_rig import CONTAINER, POD, Join, Node, until

RESOURCES = nri.LinuxResources(pids=nri.LinuxPids(limit=7))


def refuses(request: object) -> None:
    raise Refusal("not today")


async def everything(node: Node) -> None:
    """One of each event but validation, which comes with CreateContainer."""
    plugins = node.plugins
    await plugins.run_pod_sandbox(POD)
    await plugins.update_pod_sandbox(POD, nri.LinuxResources(), RESOURCES)
    await plugins.post_update_pod_sandbox(POD)
    await plugins.create_container(POD, CONTAINER)
    await plugins.post_create_container(POD, CONTAINER)
    await plugins.start_container(POD, CONTAINER)
    await plugins.post_start_container(POD, CONTAINER)
    await plugins.update_container(POD, CONTAINER, RESOURCES)
    await plugins.post_update_container(POD, CONTAINER)
    await plugins.stop_container(POD, CONTAINER)
    await plugins.remove_container(POD, CONTAINER)
    await plugins.stop_pod_sandbox(POD)
    await plugins.remove_pod_sandbox(POD)


ORDER = [
    *("RunPodSandbox", "UpdatePodSandbox", "PostUpdatePodSandbox", "CreateContainer", "ValidateContainerAdjustment"),
    *("PostCreateContainer", "StartContainer", "PostStartContainer", "UpdateContainer", "PostUpdateContainer"),
    *("StopContainer", "RemoveContainer", "StopPodSandbox", "RemovePodSandbox"),
]


async def test_all_fourteen_events(node: Node, join: Join) -> None:
    """In order, with pod and container as they were given."""
    await node.start()
    plugin = await join()
    await everything(node)
    assert plugin.methods() == ORDER
    assert len(ORDER) == len(EVENTS) == 14
    for method, request in plugin.requests[2:]:
        assert request.pod == POD
        if "container" in request.DESCRIPTOR.fields_by_name:
            assert request.container == CONTAINER, method
    assert plugin.of("UpdatePodSandbox")[0].linux_resources == RESOURCES
    assert plugin.of("UpdateContainer")[0].linux_resources == RESOURCES


async def test_only_what_was_subscribed(node: Node, join: Join) -> None:
    await node.start()
    for event in EVENTS:
        await join("10", event.method, events=event.bit)
    plugins = [await join("11", event.method, events=event.bit) for event in EVENTS]
    await everything(node)
    assert [p.methods() for p in plugins] == [[event.method] for event in EVENTS]


async def test_without_plugins_nothing_happens(node: Node) -> None:
    """No suspension even: the loop gives no other task a turn."""
    await node.start()
    work = asyncio.create_task(everything(node))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert work.done()
    made = await node.plugins.create_container(POD, CONTAINER)
    assert made.adjustment == nri.ContainerAdjustment()


async def test_whether_it_is_worth_describing_a_pod(node: Node, join: Join) -> None:
    """A plugin in the list, or the default validator; and once it is False, nobody comes before the request's end."""
    await node.start()
    async with node.plugins.requests():
        before = node.plugins.active
        coming = asyncio.ensure_future(join())
        await until(lambda: [s.state for s in node.plugins.status()] == ["registering"])
        assert (before, node.plugins.active) == (False, False)
    plugin = await coming
    await until(lambda: node.plugins.active)
    await plugin.close()
    await until(lambda: not node.plugins.active)
    await node.plugins.close()
    assert (await node.start(validator=Validator(enable=True))).active


async def test_plugins_are_called_by_index_then_name(node: Node, join: Join) -> None:
    await node.start()
    order: list[str] = []
    for index, name in (("20", "a"), ("05", "z"), ("10", "b"), ("10", "a"), ("05", "z")):

        def handler(request: object, label: str = f"{index}-{name}") -> nri.Empty:
            order.append(label)
            return nri.Empty()

        await join(index, name, RunPodSandbox=handler)
    await node.plugins.run_pod_sandbox(POD)
    assert order == ["05-z", "05-z", "10-a", "10-b", "20-a"]
    assert [s.label for s in node.plugins.status()] == order


@pytest.mark.parametrize("call", ["run_pod_sandbox", "start_container"])
async def test_a_refusal_ends_the_round_and_fails_the_call(node: Node, join: Join, call: str) -> None:
    await node.start()
    method = "".join(word.capitalize() for word in call.split("_"))
    await join("10", "first", **{method: refuses})
    second = await join("20", "second")
    with pytest.raises(CrishimError) as caught:
        await getattr(node.plugins, call)(*((POD,) if "pod" in call else (POD, CONTAINER)))
    assert str(caught.value) == f"NRI plugin 10-first refused {method}: not today"
    assert caught.value.kind == Kind.INTERNAL
    assert caught.value.facts == {"plugin": "10-first", "hook": method}
    assert second.methods() == []
    assert node.plugins.status()[0].counters.refused == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.INVALID_ARGUMENT, Kind.INVALID),
        (Code.PERMISSION_DENIED, Kind.DENIED),
        (Code.NOT_FOUND, Kind.INTERNAL),
        (Code.DEADLINE_EXCEEDED, Kind.INTERNAL),
    ],
)
async def test_a_plugin_cannot_make_a_pod_vanish(node: Node, join: Join, code: Code, kind: Kind) -> None:
    """A kubelet takes NOT_FOUND for the pod's end."""
    await node.start()

    def refuse(request: object) -> None:
        raise Refusal("no", code)

    await join("10", "x", RunPodSandbox=refuse)
    with pytest.raises(CrishimError) as caught:
        await node.plugins.run_pod_sandbox(POD)
    assert caught.value.kind == kind


async def test_notices_reach_everybody(node: Node, join: Join, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the first says; one line tells who refused what."""
    await node.start()
    notices = [event.method for event in EVENTS if event.notice]
    await join("10", "first", **dict.fromkeys(notices, refuses))
    second = await join("20", "second")
    await everything(node)
    assert second.methods() == ORDER
    lines = [r for r in caplog.records if r.message == "an NRI plugin failed to take notice"]
    assert [vars(r)["hook"] for r in lines] == [m for m in ORDER if m in notices]
    assert all("not today" in vars(r)["error"] and vars(r)["plugin"] == "10-first" for r in lines)


async def test_old_plugins_get_state_changes(node: Node, join: Join) -> None:
    """Asked by the method once, and by StateChange ever after."""
    await node.start()

    def unknown(request: object) -> None:
        raise Refusal("method X", Code.UNIMPLEMENTED)

    old = [event.method for event in EVENTS if event.state_change]
    plugin = await join("10", "old", **dict.fromkeys(old, unknown))
    await everything(node)
    await everything(node)
    for event in EVENTS:
        changes = [r for r in plugin.of("StateChange") if r.event == event.number]
        assert len(changes) == (2 if event.state_change else 0)
        assert len(plugin.of(event.method)) == (1 if event.state_change else 2)
    assert all(r.pod == POD for r in plugin.of("StateChange"))
    assert plugin.of("StateChange")[2].container == CONTAINER
    assert len(old) == 9
    assert node.plugins.status()[0].counters.refused == 0


async def test_one_call_at_a_time_for_a_plugin_and_side_by_side_for_two(node: Node, join: Join) -> None:
    """The first pod's call hangs in one plugin; a second pod passes the other meanwhile, and waits there."""
    await node.start()
    goes = asyncio.Event()

    async def slow(request: object) -> nri.Empty:
        await goes.wait()
        return nri.Empty()

    quick = await join("10", "quick")
    hanging = await join("20", "hanging", RunPodSandbox=slow)
    pods = [asyncio.create_task(node.plugins.run_pod_sandbox(POD)) for _ in range(2)]
    await quick.seen("RunPodSandbox", 2)
    await hanging.seen("RunPodSandbox")
    assert len(hanging.of("RunPodSandbox")) == 1
    goes.set()
    await asyncio.gather(*pods)
    assert len(hanging.of("RunPodSandbox")) == 2
