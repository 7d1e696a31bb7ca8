"""The example driver's NRI plugin over a runtime that is only messages, and links that are only names."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crishim.errors import CrishimError
from crishim.nri.plugins import Plugins
from crishim.pb import nri_pb2 as nri
from hack.dra.links import Link
from hack.dra.mover import Mover, stay_connected
from hack.dra.prepared import Given, Prepared
from tests.support.nri_rig import Node, until

LINK = Link("02:00:00:00:00:01", 1400, "veth", ["192.0.2.7/24"])


def pod(uid: str, namespace: str = "/run/net") -> nri.PodSandbox:
    made = nri.PodSandbox(id=f"sandbox-{uid}", uid=uid, name="web", namespace="default")
    made.linux.namespaces.add(type="ipc", path="/run/ipc")
    if namespace:
        made.linux.namespaces.add(type="network", path=namespace)
    return made


class Names:
    """Links as the names of where they are."""

    def __init__(self) -> None:
        self.where: dict[str, str] = {}
        self.broken = ""

    async def move_in(self, name: str, given: Given, namespace: str) -> None:
        if self.broken:
            raise OSError(self.broken)
        self.where[name] = f"{namespace}/{given.interface}"

    async def move_back(self, name: str, given: Given, namespace: str) -> None:
        if self.broken:
            raise OSError(self.broken)
        assert self.where.pop(name, f"{namespace}/{given.interface}") == f"{namespace}/{given.interface}"


class Rig:
    def __init__(self, directory: Path) -> None:
        self.prepared = Prepared(directory / "claims", "d", edits=False)
        self.links = Names()
        self.node = Node()
        self.socket = directory / "nri.sock"

    async def start(self, *pods: nri.PodSandbox) -> Plugins:
        """A runtime with these pods."""
        self.node.pods = list(pods)
        return await self.node.start(socket=self.socket, plugin_directory=None)

    async def join(self) -> Mover:
        mover = Mover("driver", self.prepared, self.links)
        await mover.connect(self.socket)
        await until(lambda: [s.state for s in self.node.plugins.status()].count("ready") == 1)
        return mover


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path)
    yield made
    await made.node.plugins.close()


async def test_a_link_goes_in_and_comes_back(rig: Rig) -> None:
    """In with RunPodSandbox, by the pod's uid; back with StopPodSandbox, which may come again. Others stay."""
    plugins = await rig.start()
    mover = await rig.join()
    rig.prepared.write("claim", {"dev0": Given(LINK, "net1", "u1"), "dev1": Given(LINK, "net1", "u2")})
    await plugins.run_pod_sandbox(pod("other"))
    assert rig.links.where == {}
    await plugins.run_pod_sandbox(pod("u1"))
    assert rig.links.where == {"dev0": "/run/net/net1"}
    for _ in range(2):
        await plugins.stop_pod_sandbox(pod("u1"))
        assert rig.links.where == {}
    await plugins.remove_pod_sandbox(pod("u1", ""))
    assert plugins.status()[0].counters.refused == 0
    await mover.close()


async def test_what_cannot_be_is_refused(rig: Rig) -> None:
    """A pod on the host's network, and a link that cannot be moved: a sentence that names pod and link."""
    plugins = await rig.start()
    mover = await rig.join()
    rig.prepared.write("claim", {"dev0": Given(LINK, "net1", "u1")})
    with pytest.raises(CrishimError, match="default/web is on the host's network"):
        await plugins.run_pod_sandbox(pod("u1", ""))
    rig.links.broken = "no such device"
    with pytest.raises(CrishimError, match="link dev0 of pod default/web: no such device"):
        await plugins.run_pod_sandbox(pod("u1"))
    await plugins.stop_pod_sandbox(pod("u1"))
    assert plugins.status()[0].counters.refused == 2
    await mover.close()


async def test_a_plugin_that_restarts_knows_its_pods(rig: Rig) -> None:
    """From the files and from Synchronize: a Stop without a namespace, as some runtimes send it, is enough."""
    plugins = await rig.start(pod("u1", "/run/other"))
    rig.prepared.write("claim", {"dev0": Given(LINK, "net1", "u1")})
    rig.links.where = {"dev0": "/run/other/net1"}
    mover = await rig.join()
    await plugins.stop_pod_sandbox(pod("u1", ""))
    assert rig.links.where == {}
    await mover.close()


async def test_a_runtime_that_restarts_is_joined_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is there at first, or goes and comes."""
    monkeypatch.setattr("hack.dra.mover.AGAIN", 0.01)
    task = asyncio.create_task(stay_connected(rig.socket, "driver", rig.prepared, rig.links))
    for _ in range(2):
        plugins = await rig.start()
        await until(lambda p=plugins: [s.state for s in p.status()].count("ready") == 1)  # type: ignore[misc]
        await plugins.close()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def test_claims_without_edits(tmp_path: Path) -> None:
    """Prepared for the plugin, a claim has no CDI name, and its file tells the runtime to do nothing."""
    given = {"dev0": Given(LINK, "net1", "u1")}
    for edits, names in ((True, ["d/claim=c-dev0"]), (False, [])):
        prepared = Prepared(tmp_path / str(edits), "d", edits=edits)
        prepared.write("c", given)
        assert (prepared.of("c"), prepared.all(), prepared.ids("c", "dev0")) == (given, given, names)
        (file,) = (tmp_path / str(edits)).iterdir()
        assert ("netDevices" in file.read_text()) == edits
        prepared.remove("c")
        assert prepared.all() == {}
