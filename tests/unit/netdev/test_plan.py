"""A plan from begin to READY or back, on made-up links: who is moved, in which order, and what is journalled."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.netdev import duplicate_detection, return_device, transaction, verify, wrong_device
from crishim.netdev.journal import Journal
from crishim.netdev.lease import Leases
from crishim.netdev.metrics import Metrics
from crishim.netdev.plan import Plan
from crishim.netdev.policy import Policy, Terms
from crishim.netdev.records import Attachment, Captured, Identity, Mover, State
from crishim.netdev.restore import Problems, ReturnOutcome
from crishim.netdev.transaction import Transaction
from crishim.netdev.verify import Verified
from tests.unit.netdev.fake_addresses import FakeAddresses
from tests.unit.netdev.fake_executor import Threads
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth


def device(number: int, state: State = State.INTENT, mover: Mover = Mover.BUILTIN) -> Attachment:
    """demo5 with ifindex 5, to be net5."""
    return attachment(
        id=f"{number:016x}",
        name=f"net{number}",
        host=Captured(index=number, name=f"demo{number}", kind="veth"),
        identity=Identity(inode=1000 + number, kind="veth"),
        index=0 if state is State.INTENT else number,
        state=state,
        mover=mover,
        since=number,
    )


class Scene:
    """A host with demo5 to demo8 and a pod; what the plan is made of, and what it did."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path / "journal")
        self.journal.load()
        self.metrics = Metrics()
        self.host: Any = FakeEnd(*(veth(i, f"demo{i}") for i in range(5, 9)))
        self.pod: Any = FakeEnd(inode=2)
        self.released = 0
        self.threads = Threads(self.host, self.pod)
        self.runs = self.threads.work

    def plan(self, *new: Attachment, kept: tuple[Attachment, ...] = ()) -> Plan:
        self.journal.open([*kept, *new])
        made = Transaction(attachment().pod, self.journal, Leases(self.journal, Terms(Policy())), 3.0)
        made._new, made._kept = [a.id for a in new], [a.id for a in kept]
        lock: Any = self if new or kept else None
        return Plan(made, cast(Any, self.threads(("/host", "/pod"))), lock, self.metrics)

    def release(self) -> None:
        self.released += 1

    def states(self) -> dict[str, State]:
        return {a.device: a.state for a in self.journal.all()}

    def carry_over(self, number: int, **fields: Any) -> None:
        """What an OCI runtime does."""
        link = self.host.links.pop(number)
        self.pod.links[number] = replace(link, **{"name": f"net{number}"} | fields)
        self.pod.devices[number] = self.host.devices.pop(number)


@pytest.fixture
def scene(
    tmp_path: Path, fake_links: None, fake_addresses: FakeAddresses, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    made = Scene(tmp_path)
    monkeypatch.setattr(wrong_device, "entries", lambda end: {x.name: end.devices[i] for i, x in end.links.items()})

    def restore(known: Attachment, host: Any, pod: Any, problems: Problems) -> ReturnOutcome:
        made.runs.append(f"restore {known.device}")
        return ReturnOutcome(known.device, ifindex=known.host.index)

    monkeypatch.setattr(return_device, "move_to_host", lambda *_: Problems())
    monkeypatch.setattr(return_device, "restore", restore)
    yield made
    assert made.threads.open == 0


async def test_the_built_in_mover(scene: Scene) -> None:
    """Marked, moved, READY; config.json gets nothing."""
    async with scene.plan(device(5), device(6)) as plan:
        assert plan.entries == {}
        await plan.begin()
        assert scene.states() == {"demo5": State.MOVED, "demo6": State.MOVED}
        assert [x.name for x in scene.pod.links.values()] == ["net5", "net6"]
        ready = await plan.verify_and_repair()
        assert scene.released == 1
    assert [(a.device, a.state, a.index) for a in ready] == [("demo5", State.READY, 5), ("demo6", State.READY, 6)]
    assert scene.metrics.durations.seen()["attach",].buckets[-1] == 2
    assert 0 <= scene.metrics.durations.seen()["attach",].seconds < 60
    assert scene.metrics.failures() == {}
    assert scene.released == 1
    assert scene.runs == ["begin", "verify"]
    assert ready[0].since > 5
    assert {x.altnames for x in scene.pod.links.values()} == {(a.altname,) for a in ready}


async def test_the_oci_runtime_as_mover(scene: Scene) -> None:
    """It is told the names; what it moved is found and made right."""
    async with scene.plan(device(5, mover=Mover.RUNTIME), device(6)) as plan:
        assert plan.entries == {"demo5": {"name": "net5"}}
        await plan.begin()
        assert scene.states() == {"demo5": State.INTENT, "demo6": State.MOVED}
        scene.carry_over(5)
        ready = await plan.verify_and_repair()
    assert [a.state for a in ready] == [State.READY, State.READY]
    assert all(x.is_up for x in scene.pod.links.values())


async def test_a_runtime_that_ignored_its_configuration(scene: Scene) -> None:
    """The device is moved after all; but what it took in its place goes back, and that is an error."""
    async with scene.plan(device(5, mover=Mover.RUNTIME)) as plan:
        await plan.begin()
        (ready,) = await plan.verify_and_repair()
        assert ready.state is State.READY
        assert scene.pod.links[5].name == "net5"
    async with scene.plan(device(6, mover=Mover.RUNTIME)) as plan:
        await plan.begin()
        scene.host.replace(6, name="renamed")
        scene.carry_over(7, name="net6")
        with pytest.raises(CrishimError, match="was renamed") as caught:
            await plan.verify_and_repair()
    assert caught.value.kind is Kind.ABORTED
    assert scene.host.links[7].name == "demo6"


async def test_a_link_of_the_pods_own_in_its_place(scene: Scene) -> None:
    """Was never on the host: it stays, and the device cannot have its name."""
    async with scene.plan(device(6, mover=Mover.RUNTIME)) as plan:
        await plan.begin()
        scene.pod.links[40], scene.pod.devices[40] = veth(40, "net6"), 2040
        scene.pod.refuse = {}
        await plan.verify_and_repair()
    assert scene.pod.links[40].name == "net6"


async def test_one_that_is_nowhere_after_the_runtime(scene: Scene) -> None:
    async with scene.plan(device(5, mover=Mover.RUNTIME)) as plan:
        await plan.begin()
        del scene.host.links[5]
        with pytest.raises(CrishimError, match="was moved but is not in pod") as caught:
            await plan.verify_and_repair()
    assert caught.value.kind is Kind.PRECONDITION
    assert scene.metrics.failures() == {("attach", "rolled back"): 1}


async def test_what_is_there_already(scene: Scene) -> None:
    """Made right before the container is made, only looked for after: hooks may have changed it since."""
    kept = device(5, State.READY)
    scene.carry_over(5, altnames=(kept.altname,), flags=1)
    async with scene.plan(device(6), kept=(kept,)) as plan:
        scene.pod.replace(5, name="by-the-pod")
        await plan.begin()
        assert scene.pod.links[5].name == "net5"
        scene.pod.replace(5, name="by-a-hook")
        found = await plan.verify_and_repair()
    assert [a.device for a in found] == ["demo5", "demo6"]
    assert [a.device for a in plan.new] == ["demo6"]
    assert scene.pod.links[5].name == "by-a-hook"
    async with scene.plan(kept=(kept,)) as again:
        await again.begin()
        del scene.pod.links[5]
        with pytest.raises(CrishimError, match="demo5 is not in pod"):
            await again.verify_and_repair()
    assert scene.metrics.durations.seen()["attach",].buckets[-1] == 1


async def test_one_that_went_between_the_steps(scene: Scene) -> None:
    """What the built-in mover has moved is looked for again, too."""
    async with scene.plan(device(5)) as plan:
        await plan.begin()
        del scene.pod.links[5]
        with pytest.raises(CrishimError, match="demo5 is not in pod"):
            await plan.verify_and_repair()
    assert "restore demo5" in scene.runs


async def test_nothing_to_do(scene: Scene) -> None:
    """No thread is started, no lock was taken."""
    async with scene.plan() as plan:
        await plan.begin()
        assert await plan.verify_and_repair() == ()
    assert scene.runs == []
    assert scene.released == 0


async def test_rolled_back(scene: Scene) -> None:
    """The newest first, once; what was there before stays."""
    kept = device(7, State.READY)
    scene.carry_over(7, altnames=(kept.altname,), flags=1)
    async with scene.plan(device(5), device(6), kept=(kept,)) as plan:
        await plan.begin()
    assert scene.runs[-3:] == ["roll_back", "restore demo6", "restore demo5"]
    await plan.rollback()
    assert scene.runs.count("roll_back") == 1
    assert scene.states() == {"demo7": State.READY}
    assert scene.released == 1
    assert scene.metrics.failures() == {("attach", "rolled back"): 1}
    async with scene.plan(kept=(kept,)) as only:
        await only.begin()
    assert scene.runs[-1] == "begin"


async def test_after_ready_there_is_nothing_to_roll_back(scene: Scene) -> None:
    async with scene.plan(device(5)) as plan:
        await plan.begin()
        ready = await plan.verify_and_repair()
        assert await plan.verify_and_repair() == ready
    await plan.rollback()
    assert scene.runs == ["begin", "verify"]


@pytest.mark.parametrize(("error", "kind"), [(errno.ENODEV, Kind.NOT_FOUND), (errno.EEXIST, Kind.PRECONDITION)])
async def test_a_device_that_cannot_be_marked(scene: Scene, error: int, kind: Kind) -> None:
    scene.host.refuse = {"add altname": error}
    plan = scene.plan(device(5))
    with pytest.raises(CrishimError, match="demo5 cannot be prepared") as caught:
        await plan.begin()
    assert caught.value.kind is kind
    assert scene.runs == ["begin", "roll_back", "restore demo5"]
    assert scene.released == 1


async def test_a_second_device_that_cannot_be_moved(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both go back."""

    def refuse(known: Attachment, host: Any, pod: Any) -> None:
        if known.device == "demo6":
            raise CrishimError(Kind.PRECONDITION, "no")

    monkeypatch.setattr(transaction, "move", refuse)
    with pytest.raises(CrishimError, match="no"):
        await scene.plan(device(5), device(6)).begin()
    assert scene.runs == ["begin", "roll_back", "restore demo6", "restore demo5"]


async def test_detection_and_what_is_said(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waited for once, together, for the new ones that are undecided; doubts and problems are the warnings."""
    waits = []
    kept = device(8, State.READY)
    scene.carry_over(8)

    def repair(known: Attachment, link: Any, pod: Any, *, first: bool) -> Verified:
        return Verified(int(known.id, 16), ("192.0.2.7/24",), (f"{known.device} {first}",), known.device != "demo6")

    def wait(found: list[Attachment], pod: Any, timeout: float) -> dict[str, list[str]]:
        waits.append(([a.device for a in found], timeout))
        return {found[0].id: ["in use"]}

    monkeypatch.setattr(verify, "verify", repair)
    monkeypatch.setattr(duplicate_detection, "wait", wait)
    async with scene.plan(device(5), device(6), device(7, mover=Mover.RUNTIME), kept=(kept,)) as plan:
        await plan.begin()
        assert waits == [(["demo5"], 3.0)]
        scene.carry_over(7)
        ready = await plan.verify_and_repair()
    assert waits[1:] == [(["demo7"], 3.0)]
    assert [a.warnings for a in ready] == [(), ("demo5 True", "in use"), ("demo6 True",), ("demo7 True", "in use")]
    assert [a.addresses for a in ready] == [(), *[("192.0.2.7/24",)] * 3]
