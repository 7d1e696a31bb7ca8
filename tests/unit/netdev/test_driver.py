"""The driver's front over made-up ends: what each request does with the journal, the locks and the counts."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.netdev import driver as module
from crishim.netdev import return_device as recovery
from crishim.netdev.adopt import boot_id
from crishim.netdev.driver import NetDevices
from crishim.netdev.journal import Journal
from crishim.netdev.records import Attachment, Captured, DeviceRequest, Identity, Mover, PodRef, Source, State
from tests.unit.netdev.fake_executor import Threads
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth

ASKED = [DeviceRequest(device="demo0", name="net1", source=Source.COMMAND)]
CARD = Identity(inode=9, bus="pci", bus_device="0000:03:00.0", permanent_mac=b"\2\0\0\0\0\1")


class Scene:
    """A driver. host, inside: its ends. ends: by device, how its return ends. paths: of each thread."""

    def __init__(self, path: Path) -> None:
        self.netns = path / "pod.net"
        self.netns.write_text("")
        self.pod = PodRef(id="pod-a", netns=str(self.netns), title="default/a")
        self.path = path
        self.host: Any = FakeEnd(veth(5, "demo0"))
        self.inside: Any = FakeEnd(inode=2)
        self.threads = Threads(self.host, self.inside)
        self.ends: dict[str, tuple[State, str]] = {}
        self.returned: list[tuple[str, bool]] = []
        self.driver = NetDevices(path / "journal", host_netns=Path("/host"))

    @property
    def journal(self) -> Journal:
        return self.driver._journal

    @property
    def paths(self) -> list[tuple[str, ...]]:
        return self.threads.paths

    def return_device(self, known: Attachment, journal: Journal, host: Any, inside: Any) -> tuple[Attachment, str]:
        self.returned.append((known.device, inside is not None))
        state, text = self.ends.get(known.device, (State.DONE, ""))
        if known.state is not state and known.state is State.READY:
            known = journal.advance(known, State.RETURNING)
        return journal.advance(known, state), text

    def return_devices(
        self, devices: Sequence[tuple[Attachment, Any]], journal: Journal, host: Any
    ) -> list[tuple[Attachment, str]]:
        return [self.return_device(known, journal, host, inside) for known, inside in devices]

    def known(self, number: int, state: State = State.READY, **fields: Any) -> Attachment:
        """demo5, attached to the pod, of this boot."""
        defaults: dict[str, Any] = {
            "pod": self.pod,
            "host": Captured(index=number, name=f"demo{number}", kind="veth", altnames=(f"also{number}",)),
            "identity": Identity(inode=1000 + number, kind="veth"),
            "name": f"net{number}",
            "boot": boot_id(),
            "netns_inode": os.stat(self.netns).st_ino,
        }
        made = attachment(id=f"{number:016x}", state=state, since=number, **defaults | fields)
        self.journal.open([made])
        return made

    def counts(self, operation: str) -> tuple[int, dict[tuple[str, str], int]]:
        return self.driver.metrics.durations.seen()[operation,].buckets[-1], self.driver.metrics.failures()


@pytest.fixture
def scene(tmp_path: Path, fake_links: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    made = Scene(tmp_path)
    monkeypatch.setattr(module, "NetnsExecutor", made.threads)
    monkeypatch.setattr(module, "return_devices", made.return_devices)
    monkeypatch.setattr(recovery, "return_device", made.return_device)
    made.journal.load()
    yield made
    assert made.threads.open == 0


async def test_a_pods_devices_return(scene: Scene) -> None:
    """From its namespace and the host, in one thread; counted, also what is LOST."""
    scene.known(5)
    scene.known(6)
    scene.ends["demo6"] = (State.LOST, "")
    ended = await scene.driver.return_devices(scene.pod)
    assert [a.state for a in ended] == [State.DONE, State.LOST]
    assert scene.paths == [("/host", str(scene.netns))]
    assert scene.returned == [("demo5", True), ("demo6", True)]
    assert scene.counts("return") == (1, {("return", "lost"): 1})
    assert 0 <= scene.driver.metrics.durations.seen()["return",].seconds < 60


async def test_a_pod_without_devices(scene: Scene) -> None:
    """No thread is started, nothing counted."""
    assert await scene.driver.return_devices(scene.pod) == ()
    assert scene.paths == []


async def test_a_namespace_that_is_gone_or_another(scene: Scene) -> None:
    """The host alone is looked at; a pod that does not say its namespace has it in its record."""
    scene.known(5)
    await scene.driver.return_devices(replace(scene.pod, netns=""))
    assert scene.paths.pop() == ("/host", str(scene.netns))
    for pod in (replace(scene.pod, netns="/none"), scene.pod):
        scene.known(5, netns_inode=7)
        await scene.driver.return_devices(pod)
        assert scene.paths.pop() == ("/host",)
        assert scene.returned.pop() == ("demo5", False)


async def test_a_kernel_that_refuses(scene: Scene) -> None:
    """The first refusal is the error, after all have been tried."""
    for number in (5, 6, 7):
        scene.known(number)
        scene.ends[f"demo{number}"] = (State.RETURNING, f"demo{number} stays" if number > 5 else "")
    scene.ends["demo5"] = (State.DONE, "")
    with pytest.raises(CrishimError, match="demo6 stays") as caught:
        await scene.driver.return_devices(scene.pod)
    assert (caught.value.kind, caught.value.facts["pod"]) == (Kind.INTERNAL, "pod-a")
    assert scene.counts("return") == (1, {("return", "internal"): 2})
    scene.journal.drop(scene.journal.all()[1])
    with pytest.raises(CrishimError, match="demo6 stays"):
        await scene.driver.return_devices(scene.pod)


async def test_one_device_of_a_running_pod(scene: Scene) -> None:
    """By its host name, an altname or its name in the pod."""
    for key in ("demo6", "also6", "net6"):
        scene.known(5)
        scene.known(6)
        assert (await scene.driver.detach(scene.pod, key)).device == "demo6"
        assert [a.device for a in scene.driver.attachments("pod-a")] == ["demo5"]
    with pytest.raises(CrishimError, match="has no network device demo6") as caught:
        await scene.driver.detach(scene.pod, "demo6")
    assert caught.value.kind is Kind.NOT_FOUND


async def test_a_removed_pod_is_forgotten(scene: Scene) -> None:
    """After a last try of what is LOST or DOWN; hardware may turn up yet."""
    scene.known(5, State.LOST)
    scene.known(6, State.LOST, identity=CARD)
    scene.known(7, State.DOWN)
    scene.known(8)
    scene.known(9, State.LOST)
    scene.ends = {"demo5": (State.LOST, ""), "demo6": (State.LOST, ""), "demo7": (State.DOWN, "")}
    before = scene.driver._lock("pod-a")
    await scene.driver.forget("pod-a")
    assert [name for name, _ in scene.returned] == ["demo5", "demo6", "demo7", "demo9"]
    assert [a.device for a in scene.driver.attachments()] == ["demo6", "demo8"]
    assert scene.driver._lock("pod-a") is not before
    assert scene.driver._lock("pod-a") is scene.driver._lock("pod-a")


@pytest.mark.parametrize(
    ("state", "alive", "inside", "fields", "ended", "back", "left"),
    [
        (State.READY, True, True, {}, State.DONE, False, [State.READY]),
        (State.READY, True, False, {}, State.LOST, True, [State.LOST]),
        (State.READY, False, True, {}, State.DONE, True, []),
        (State.READY, True, True, {"netns_inode": 7}, State.DONE, True, []),
        (State.INTENT, True, True, {}, State.DONE, True, []),
        (State.RETURNING, True, True, {}, State.DONE, True, []),
        (State.LOST, True, False, {}, State.LOST, True, [State.LOST]),
        (State.LOST, False, False, {}, State.LOST, True, []),
        (State.DOWN, False, False, {}, State.DOWN, True, []),
        (State.LOST, False, False, {"identity": CARD}, State.LOST, True, [State.LOST]),
        (State.READY, True, True, {"boot": "earlier"}, State.DONE, False, []),
        (State.RETURNING, True, True, {"boot": "earlier"}, State.DONE, False, []),
        (State.RETURNING, False, True, {}, State.RETURNING, True, [State.RETURNING]),
    ],
)
async def test_after_a_restart(
    scene: Scene,
    state: State,
    alive: bool,
    inside: bool,
    fields: dict[str, Any],
    ended: State,
    back: bool,
    left: list[State],
) -> None:
    """Only what is READY in a pod that lives stays; a record of an earlier boot means nothing."""
    scene.known(5, state, **fields)
    scene.ends["demo5"] = (ended, "")
    if inside:
        scene.inside.links[5], scene.inside.devices[5] = veth(5, "net5"), 1005
    driver = NetDevices(scene.path / "journal", host_netns=Path("/host"))
    found = await driver.recover([scene.pod] if alive else [])
    assert bool(scene.returned) is back
    assert [a.state for a in found] == left
    assert [a.state for a in driver.attachments()] == left


async def test_a_recovery_that_fails_is_not_the_last(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """One device that the kernel refuses keeps no other from recovering."""
    scene.known(5, State.RETURNING)
    scene.known(6, State.RETURNING)
    return_device = scene.return_device

    def fail(known: Attachment, *rest: Any) -> tuple[Attachment, str]:
        if known.device == "demo5":
            raise CrishimError(Kind.INTERNAL, "Operation not permitted")
        return return_device(known, *rest)

    monkeypatch.setattr(recovery, "return_device", fail)
    driver = NetDevices(scene.path / "journal", host_netns=Path("/host"))
    assert [a.device for a in await driver.recover([])] == ["demo5"]


async def test_looking_at_a_device(scene: Scene) -> None:
    """In its pod, if that is still there."""
    known = scene.known(5)
    assert await scene.driver.observe(known) is None
    assert scene.paths == [("/host", str(scene.netns))]
    assert await scene.driver.observe(replace(known, netns_inode=7)) is None
    assert len(scene.paths) == 1


class Taken:
    """In place of the leases: what they answer."""

    def __init__(self, scene: Scene, answer: Any) -> None:
        self.scene, self.answer, self.asked = scene, answer, 0

    def take(self, requests: Sequence[DeviceRequest], pod: PodRef, mover: Mover, host: Any, inside: Any) -> Any:
        self.asked += 1
        assert (host, inside) == (self.scene.host, self.scene.inside)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_a_plan_holds_its_pods_lock(scene: Scene) -> None:
    """Until it is settled; without requests there is nothing to hold."""
    scene.driver._leases = Taken(scene, ([], [scene.known(5)]))  # type: ignore[assignment]
    plan = await scene.driver.plan(ASKED, scene.pod, Mover.BUILTIN)
    assert [a.device for a in plan.attachments] == ["demo5"]
    assert scene.driver._lock("pod-a").locked()
    await plan.rollback()
    assert not scene.driver._lock("pod-a").locked()
    empty = await scene.driver.plan([], replace(scene.pod, netns=""), Mover.BUILTIN)
    assert not scene.driver._lock("pod-a").locked()
    await empty.rollback()
    assert scene.driver._leases.asked == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "kind"), [(CrishimError(Kind.NOT_FOUND, "no such device"), "not found"), (ValueError("bug"), "internal")]
)
async def test_a_plan_that_comes_to_nothing(scene: Scene, error: Exception, kind: str) -> None:
    """Its intents are dropped, its lock is free, and it is counted; what else the pod has stays."""
    scene.driver._leases = Taken(scene, error)  # type: ignore[assignment]
    scene.known(5, State.INTENT)
    scene.known(6)
    with pytest.raises(type(error)):
        await scene.driver.plan(ASKED, scene.pod, Mover.BUILTIN)
    assert [a.device for a in scene.driver.attachments()] == ["demo6"]
    assert not scene.driver._lock("pod-a").locked()
    assert scene.counts("attach") == (0, {("attach", kind): 1})


async def test_a_pod_on_the_hosts_network(scene: Scene) -> None:
    with pytest.raises(CrishimError, match="it is on the host's network"):
        await scene.driver.plan(ASKED, replace(scene.pod, netns=""), Mover.BUILTIN)
    assert scene.paths == []


async def test_what_is_asked_for_comes_home_first(scene: Scene) -> None:
    """Before anything is looked at."""
    scene.driver._leases = Taken(scene, ([], []))  # type: ignore[assignment]
    scene.known(5, State.LOST, pod=replace(scene.pod, id="pod-b"))
    async with await scene.driver.plan(
        [DeviceRequest(device="demo5", source=Source.COMMAND)], scene.pod, Mover.BUILTIN
    ):
        assert scene.returned == [("demo5", False)]
