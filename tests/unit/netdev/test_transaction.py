"""The steps of a transaction that touch the host, on made-up links; in their order they are tested in test_plan.py."""

import errno
from pathlib import Path
from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.linux.netlink.links import IFF_UP
from crishim.netdev.journal import Journal
from crishim.netdev.lease import Leases
from crishim.netdev.policy import Policy, Terms
from crishim.netdev.records import Captured, Mover, PodRef, State
from crishim.netdev.transaction import Transaction, mark, move
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth

WAS = Captured(index=5, name="demo0", kind="veth", mtu=1400, mac=b"\2\0\0\0\0\1", altnames=("also", "net1"))
KNOWN = attachment(host=WAS)


def ends() -> tuple[Any, Any]:
    """The host with the device, and an empty pod."""
    return FakeEnd(veth(5, "demo0", altnames=WAS.altnames, mtu=1400, mac=WAS.mac, flags=IFF_UP)), FakeEnd(inode=2)


def test_our_mark_and_the_name_to_be(fake_links: None) -> None:
    """An altname that is to be its name goes, the others stay."""
    host, pod = ends()
    mark(KNOWN, host)
    assert host.links[5].altnames == ("also", KNOWN.altname)
    move(KNOWN, host, pod)
    assert host.links == {}
    assert (pod.links[5].name, pod.links[5].is_up) == ("net1", True)
    other = attachment(host=WAS, name="net2")
    host, pod = ends()
    mark(other, host)
    assert host.links[5].altnames == ("also", "net1", other.altname)


@pytest.mark.parametrize(("error", "kind"), [(errno.ENODEV, Kind.NOT_FOUND), (errno.EEXIST, Kind.PRECONDITION)])
def test_a_refused_move(fake_links: None, error: int, kind: Kind) -> None:
    host, pod = ends()
    host.refuse = {"move": error}
    with pytest.raises(CrishimError, match="demo0 could not be moved to pod default/a as net1") as caught:
        move(KNOWN, host, pod)
    assert caught.value.kind is kind


@pytest.mark.parametrize(("error", "kind"), [(errno.ENODEV, Kind.NOT_FOUND), (errno.EEXIST, Kind.PRECONDITION)])
def test_a_refused_mark(fake_links: None, error: int, kind: Kind) -> None:
    host, _ = ends()
    host.refuse = {"add altname": error}
    with pytest.raises(CrishimError, match="demo0 cannot be prepared") as caught:
        mark(KNOWN, host)
    assert caught.value.kind is kind


def test_a_lease_that_nobody_got(tmp_path: Path) -> None:
    """Its intents are dropped; what else the pod has, and other pods', stays."""
    journal = Journal(tmp_path / "journal")
    journal.load()
    left = [
        attachment(id="2" * 16, state=State.READY),
        attachment(id="3" * 16, state=State.INTENT, pod=PodRef(id="pod-b", netns="")),
    ]
    journal.open([attachment(id="1" * 16, state=State.INTENT), *left])
    Transaction(KNOWN.pod, journal, Leases(journal, Terms(Policy())), 3.0).abandon()
    assert sorted(a.id for a in journal.all()) == [a.id for a in left]


def test_what_is_known_of_it(tmp_path: Path) -> None:
    """New and kept devices as the journal has them now; the entries are those of the OCI runtime."""
    journal = Journal(tmp_path / "journal")
    journal.load()
    mine, its = (
        attachment(id=i * 16, state=State.INTENT, mover=m) for i, m in (("1", Mover.BUILTIN), ("2", Mover.RUNTIME))
    )
    kept, gone = attachment(id="3" * 16), attachment(id="4" * 16, state=State.INTENT)
    journal.open([mine, its, kept, gone])
    leases: Any = Leases(journal, Terms(Policy()))
    leases.take = lambda *_: ([mine, its, gone], [kept])
    made = Transaction(KNOWN.pod, journal, leases, 3.0)
    assert made.is_empty
    end: Any = FakeEnd()
    made.lease([], Mover.RUNTIME, end, end)
    journal.drop(gone)
    assert (made.new, made.kept, made.is_empty) == ([mine, its], [kept], False)
    assert made.entries == {"demo0": {"name": "net1"}}
