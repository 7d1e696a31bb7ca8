"""crishim/nri/synchronize.py, and the moment a plugin is put into the list."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.nri import synchronize
from crishim.nri.synchronize import PART, CannotSynchronize, parts
from crishim.nri.ttrpc import MAX_BODY, Client
from crishim.pb import nri_pb2 as nri
from tests.support.nri_plugin import FakePlugin, Refusal
from tests.support.nri_rig import POD, Join, Node, until


def pods(sizes: list[int]) -> list[nri.PodSandbox]:
    return [nri.PodSandbox(id=str(i), annotations={"x": "y" * size}) for i, size in enumerate(sizes)]


def containers(sizes: list[int]) -> list[nri.Container]:
    return [nri.Container(id=str(i), annotations={"x": "y" * size}) for i, size in enumerate(sizes)]


sizes = st.lists(st.integers(0, 3000), max_size=12)


@given(sizes, sizes)
def test_parts_hold_everything_in_order(of_pods: list[int], of_containers: list[int]) -> None:
    """Each within the bound, and no more of them than that takes; all but the last say more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synchronize, "PART", 4000)
        made = parts(pods(of_pods), containers(of_containers))
    assert [p for part in made for p in part.pods] == pods(of_pods)
    assert [c for part in made for c in part.containers] == containers(of_containers)
    assert [part.more for part in made] == [True] * (len(made) - 1) + [False]
    assert all(part.ByteSize() <= 4000 + 2 for part in made)
    for part, after in itertools.pairwise(made):
        following = (*after.pods, *after.containers)[0]
        slack = 8 * (1 + len(part.pods) + len(part.containers))
        assert part.ByteSize() + following.ByteSize() + slack > 4000


def test_the_largest_part_is_a_message() -> None:
    """With what ttrpc puts around it."""
    (part,) = parts(pods([PART - 60]), [])
    _, message = Client().request("nri.pkg.api.v1alpha1.Plugin", "Synchronize", part.SerializeToString(), 5.0)
    assert len(message) <= MAX_BODY + 10
    with pytest.raises(CannotSynchronize, match="cannot be told of 0"):
        parts(pods([PART]), [])


async def test_a_large_node_in_parts(node: Node, join: Join) -> None:
    node.pods, node.containers = pods([300_000] * 20), containers([300_000] * 20)
    await node.start()
    plugin = await join()
    requests = plugin.of("Synchronize")
    assert [r.more for r in requests] == [True, True, True, False]
    assert sum(len(r.pods) for r in requests) == sum(len(r.containers) for r in requests) == 20


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (nri.SynchronizeResponse(), "does not take Synchronize in parts"),
        (nri.SynchronizeResponse(more=True, update=[nri.ContainerUpdate()]), "asks for updates before it has seen"),
    ],
)
async def test_one_that_cannot_take_parts(node: Node, answer: nri.SynchronizeResponse, why: str) -> None:
    node.pods = pods([300_000] * 20)
    await node.start()
    assert node.settings.socket
    plugin = FakePlugin("10", "x", Synchronize=lambda request: answer)
    await plugin.connect(node.settings.socket)
    await asyncio.wait_for(plugin.closed.wait(), 20)
    await until(lambda: why in node.plugins.status()[-1].state)
    await plugin.close()


async def test_updates_of_the_answer_are_done(node: Node, join: Join) -> None:
    node.containers = containers([1, 1])
    await node.start()
    updates = [nri.ContainerUpdate(container_id=id) for id in ("1", "gone", "0")]
    await join("10", "x", Synchronize=lambda request: nri.SynchronizeResponse(update=updates))
    await until(lambda: node.updated == ["1", "0"])


async def test_each_pod_is_in_the_set_or_comes_as_an_event(node: Node, join: Join) -> None:
    """Verbs go on while a plugin takes long to synchronize; in the end it has learned of each once."""
    await node.start()
    goes = asyncio.Event()

    async def slow(request: nri.SynchronizeRequest) -> nri.SynchronizeResponse:
        await goes.wait()
        return nri.SynchronizeResponse()

    async def run(name: str) -> None:
        pod = nri.PodSandbox(id=name)
        async with node.plugins.requests():
            await node.plugins.run_pod_sandbox(pod)
            await asyncio.sleep(0)
            node.pods.append(pod)

    assert node.settings.socket
    plugin = FakePlugin("10", "slow", Synchronize=slow)
    before = [asyncio.create_task(run(f"before {i}")) for i in range(3)]
    await plugin.connect(node.settings.socket)
    around = [asyncio.create_task(run(f"around {i}")) for i in range(3)]
    (request,) = [await plugin.seen("Synchronize")]
    during = [asyncio.create_task(run(f"during {i}")) for i in range(3)]
    await asyncio.sleep(0)
    assert not plugin.of("RunPodSandbox")
    goes.set()
    await asyncio.gather(*before, *around, *during)
    learned = [pod.id for pod in request.pods] + [r.pod.id for r in plugin.of("RunPodSandbox")]
    assert sorted(learned) == sorted(pod.id for pod in node.pods)
    assert len(learned) == 9
    await plugin.close()


async def test_one_that_hangs_in_synchronize_is_dropped_and_hooks_go_on(node: Node) -> None:
    """They wait for it no longer than its time, and it does not get them."""
    await node.start(registration_timeout=0.3, request_timeout=0.1)
    assert node.settings.socket
    plugin = FakePlugin("10", "x", Synchronize=lambda request: asyncio.get_running_loop().create_future())
    await plugin.connect(node.settings.socket)
    await plugin.seen("Synchronize")
    await asyncio.wait_for(node.plugins.run_pod_sandbox(POD), 20)
    assert plugin.methods() == []
    assert node.plugins.status()[-1].state == "closed: it did not answer Synchronize within 0.3 s"
    await plugin.close()


async def test_plugins_update_by_themselves(node: Node, join: Join) -> None:
    """Also from inside a handler, and before they were synchronized they cannot."""
    node.containers = containers([1, 1])
    await node.start()
    asked = nri.UpdateContainersRequest(
        update=[nri.ContainerUpdate(container_id=id) for id in ("0", "gone")],
        evict=[nri.ContainerEviction(container_id="1")],
    )

    async def updates(request: object) -> nri.Empty:
        answer = await plugin.call("UpdateContainers", asked, nri.UpdateContainersResponse)
        assert [u.container_id for u in answer.failed] == ["gone"]
        return nri.Empty()

    plugin = await join("10", "x", RunPodSandbox=updates)
    await node.plugins.run_pod_sandbox(POD)
    assert (node.updated, node.evicted) == (["0"], ["1"])


class Early(FakePlugin):
    async def register(self) -> None:
        await self.call("UpdateContainers", nri.UpdateContainersRequest(), nri.UpdateContainersResponse)


async def test_who_has_not_registered_updates_nothing(node: Node) -> None:
    await node.start()
    assert node.settings.socket
    early = Early("11", "early")
    with pytest.raises(Refusal, match="must register before"):
        await early.connect(node.settings.socket)
    await early.close()
