"""From requests to INTENT on made-up links: what is looked at twice, what is leased, and what is over with that."""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.device_rules import Rule
from crishim.errors import CrishimError, Kind
from crishim.linux.netlink import links
from crishim.linux.netlink.links import IFF_UP, Link
from crishim.netdev import lease as module
from crishim.netdev.adopt import boot_id
from crishim.netdev.journal import Journal
from crishim.netdev.lease import Leased, Leases
from crishim.netdev.link_usage import LinkUsage
from crishim.netdev.policy import Policy, Terms
from crishim.netdev.records import Attachment, Captured, DeviceRequest, Identity, Mover, PodRef, Source, State
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth

ANYTHING = Terms(Policy([Rule(devices=["*"], namespaces=["*"])]))
POD = PodRef(id="pod-a", netns="/run/a", title="default/a")
IDENTITY = Identity(inode=1005, kind="veth")


class Scene:
    """A host with demo5 and demo6, an empty pod; dumps, gets: of the host, in order, before what there is."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path / "journal")
        self.journal.load()
        self.leases = Leases(self.journal, ANYTHING)
        self.host: Any = FakeEnd(veth(5, "demo5"), veth(6, "demo6"))
        self.pod: Any = FakeEnd(veth(2, "eth0"), inode=2)
        self.dumps: list[Callable[[], Sequence[Link]]] = []
        self.gets: list[Callable[[], Link | None]] = []
        self.looked: list[list[str]] = []
        self.captured: list[list[str]] = []
        self.returned: list[str] = []

    def dump(self, end: FakeEnd) -> list[Link]:
        if end is self.host and self.dumps:
            return list(self.dumps.pop(0)())
        return list(end.links.values())

    def get(self, end: FakeEnd, key: int | str) -> Link | None:
        if end is self.host and self.gets:
            return self.gets.pop(0)()
        return next((x for x in end.links.values() if key in (x.index, *x.names)), None)

    def read_usage(self, host: Any, found: Sequence[Link]) -> LinkUsage:
        self.looked.append([x.name for x in found])
        return LinkUsage()

    def capture(self, host: Any, found: Sequence[Link]) -> dict[int, Captured]:
        self.captured.append([x.name for x in found])
        return {x.index: Captured(index=x.index, name=x.name, kind=x.kind, flags=x.flags) for x in found}

    def return_device(self, known: Attachment, journal: Journal, host: Any, pod: Any) -> tuple[Attachment, str]:
        self.returned.append(known.device)
        journal.drop(known)
        return known, ""

    def run(self, *devices: str, mover: Mover = Mover.BUILTIN) -> Leased:
        asked = [
            DeviceRequest(device=d.partition("=")[0], name=d.partition("=")[2], source=Source.CDI) for d in devices
        ]
        return self.leases.take(asked, POD, mover, self.host, self.pod)


@pytest.fixture
def scene(tmp_path: Path, fake_links: None, monkeypatch: pytest.MonkeyPatch) -> Scene:
    made = Scene(tmp_path)
    monkeypatch.setattr(links, "dump", made.dump)
    monkeypatch.setattr(links, "get", made.get)
    for name in ("read_usage", "capture", "return_device"):
        monkeypatch.setattr(module, name, getattr(made, name))
    return made


def in_pod(scene: Scene, **fields: Any) -> Attachment:
    """demo9, in the pod as net9, and journalled."""
    known: dict[str, Any] = {
        "id": "9" * 16,
        "host": Captured(index=9, name="demo9", kind="veth"),
        "identity": Identity(inode=1009, kind="veth"),
        "name": "net9",
        "wanted": "net9",
        "index": 9,
        "sources": ("cdi",),
    }
    made = attachment(**known | fields)
    scene.journal.open([made])
    scene.pod.links[9], scene.pod.devices[9] = veth(9, "net9"), 1009
    return made


def test_new_devices(scene: Scene) -> None:
    """Looked at, captured, journalled; their claims are over."""
    new, kept = scene.run("demo5=net1", "demo6=net2", mover=Mover.RUNTIME)
    assert kept == []
    assert new == scene.journal.all()
    first = new[0]
    assert (first.device, first.name, first.wanted, first.state) == ("demo5", "net1", "net1", State.INTENT)
    assert (first.netns_inode, first.pod, first.mover, first.sources) == (2, POD, Mover.RUNTIME, ("cdi",))
    assert (first.identity, first.boot, first.since == first.changed) == (IDENTITY, boot_id(), True)
    assert len({a.id for a in new}) == 2
    assert all(len(a.id) == 16 for a in new)
    assert scene.looked == scene.captured == [["demo5", "demo6"]]
    with scene.journal.claimed(POD, []):
        pass


def test_a_device_that_is_there(scene: Scene) -> None:
    """Kept, and who else asks for it is recorded; the host is not looked at again for it."""
    known = in_pod(scene)
    new, kept = scene.run("demo9=net9")
    assert (new, kept) == ([], [known])
    assert scene.looked == [[]]
    scene.dumps = [lambda: list(scene.host.links.values())]
    scene.leases.take(
        [DeviceRequest(device="demo9", source=Source.NRI, name="net9")], POD, Mover.BUILTIN, scene.host, scene.pod
    )
    assert scene.dumps == []
    assert [a.sources for a in scene.journal.all()] == [("cdi", "nri")]
    assert scene.journal.all()[0].changed > 0


def test_only_new_devices_are_looked_at_again(scene: Scene) -> None:
    in_pod(scene)
    scene.gets = [lambda: pytest.fail("a link was looked at again")]
    assert len(scene.run("demo9=net9")[1]) == 1


@pytest.mark.parametrize("state", [State.MOVED, State.RETURNING])
def test_one_that_is_not_ready(scene: Scene, state: State) -> None:
    in_pod(scene, state=state)
    with pytest.raises(CrishimError, match=f"demo9 of pod default/a is {state}") as caught:
        scene.run("demo9=net9")
    assert caught.value.kind is Kind.PRECONDITION


def test_one_that_left_the_pod(scene: Scene) -> None:
    """It is brought back first, and is then one of the host's; one under way is left to whoever is at it."""
    in_pod(scene)
    scene.pod.links.clear()
    scene.host.links[9], scene.host.devices[9] = veth(9, "demo9"), 1009
    new, _ = scene.run("demo9=net1")
    assert scene.returned == ["demo9"]
    assert [a.device for a in new] == ["demo9"]
    in_pod(scene, id="8" * 16, state=State.MOVED, host=Captured(index=8, name="demo8", kind="veth"))
    scene.pod.links.clear()
    scene.run("demo5=net5")
    assert scene.returned == ["demo9"]


def test_the_hosts_own_namespace(scene: Scene) -> None:
    """A pod whose handle leads to the host is one on the host's network."""
    scene.pod.inode = scene.host.inode
    with pytest.raises(CrishimError, match="on the host's network"):
        scene.run("demo5=net1")


@pytest.mark.parametrize("change", [{"name": "other"}, {"altnames": ("x",)}, {"kind": "ifb"}])
def test_a_link_that_changes_meanwhile(scene: Scene, change: dict[str, Any]) -> None:
    """Everything is looked at anew, with the claim given up between."""

    scene.gets = [lambda: replace(scene.host.links[5], **change)]
    new, _ = scene.run("demo5=net1")
    assert ([a.device for a in new], scene.gets) == (["demo5"], [])
    scene.gets = [lambda: None]
    assert ([a.device for a in scene.run("demo6=net2")[0]], scene.gets) == (["demo6"], [])


def test_a_link_that_never_rests(scene: Scene) -> None:
    """Given up after five looks, naming it."""
    scene.gets = [lambda: None] * 5
    with pytest.raises(CrishimError, match="device demo5 or another one asked for keeps changing") as caught:
        scene.run("demo5=net1")
    assert caught.value.kind is Kind.ABORTED
    assert scene.gets == []
    assert scene.journal.all() == []


def test_a_link_that_goes_while_it_is_captured(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENODEV is a change like another; any other error is one."""
    errors = [errno.ENODEV, errno.EPERM]

    def capture(host: Any, found: Sequence[Link]) -> dict[int, Captured]:
        number = errors.pop(0)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "capture", capture)
    with pytest.raises(OSError, match="Operation not permitted"):
        scene.run("demo5=net1")
    assert errors == []


ROUTES: dict[str, Any] = {"routes": ("r",), "nexthops": ("n",), "flags": IFF_UP}


@pytest.mark.parametrize(
    ("state", "up", "same", "over", "kept"),
    [
        (State.DOWN, False, True, True, True),
        (State.DOWN, True, True, True, False),
        (State.LOST, False, True, True, True),
        (State.DOWN, False, False, False, False),
        (State.READY, False, True, False, False),
    ],
)
def test_what_an_earlier_pod_left(scene: Scene, state: State, up: bool, same: bool, over: bool, kept: bool) -> None:
    """A LOST or DOWN record of the device is over; one that is still down is to have what it had before."""
    old = attachment(
        id="9" * 16,
        pod=PodRef(id="pod-b", netns="/run/b"),
        state=state,
        identity=replace(IDENTITY, inode=1005 if same else 7),
        host=replace(Captured(index=5, name="older", kind="veth"), flags=IFF_UP),
    )
    scene.journal.open([old])
    scene.host.replace(5, flags=IFF_UP if up else 0)
    new, _ = scene.run("demo5=net1", "demo6=net2")
    assert (scene.journal.find(old.id) is None) is over
    assert bool(new[0].host.flags & IFF_UP) is (kept or up)
    assert new[0].host.name == "demo5"
    assert scene.journal.all()[-2:] == new
