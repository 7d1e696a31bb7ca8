"""A pod's BPF programs go, the host's come back: what is detached and attached, where, and in which order."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.linux import bpf, xdp
from crishim.linux.bpf import BpfProgram
from crishim.linux.netlink import links, queueing
from crishim.linux.netlink.links import Link
from crishim.linux.netlink.queueing import RTM_NEWQDISC, TcObject
from crishim.netdev import bpf_programs as module
from crishim.netdev.bpf_programs import TC_FILTER, hooks, is_loaded, read, restore
from crishim.netdev.records import Captured
from crishim.netdev.restore_context import RestoreContext
from tests.unit.netdev.fake_links import veth
from tests.unit.netdev.wire_calls import BUSY, Calls

IN, OUT = "tcx ingress", "tcx egress"
WAS = Captured(index=5, name="demo0")
LINK = veth(9, "demo0", xdp=b"generic 3")


class Kernel:
    """tcx: (program, bpf_link) by hook. loaded: programs by number. xdp_links: that hold XDP programs."""

    def __init__(self) -> None:
        self.tcx: dict[str, list[tuple[int, int]]] = {}
        self.loaded: dict[int, tuple[bytes, int]] = {}
        self.xdp_links: dict[int, list[int]] = {}
        self.now = LINK

    def describe(self, hook: str, id: int, *, by_link: bool = False) -> BpfProgram:
        if id not in self.loaded:
            raise FileNotFoundError(errno.ENOENT, "gone")
        tag, loaded = self.loaded[id]
        return BpfProgram(hook=hook, id=id, name=f"p{id}", tag=tag, loaded=loaded, by_link=by_link)


@pytest.fixture
def kernel(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    calls.note(bpf, "detach", "attach", "detach_link")
    calls.note(xdp, "detach", "attach")
    monkeypatch.setattr(bpf, "describe", made.describe)
    monkeypatch.setattr(bpf, "query", lambda index, hook: made.tcx.get(hook, []) if index == 9 else [])
    monkeypatch.setattr(bpf, "xdp_links", lambda index, id: made.xdp_links.get(id, []) if index == 9 else [])
    monkeypatch.setattr(xdp, "parse", _parse)
    monkeypatch.setattr(links, "get", lambda netlink, index: made.now)

    @contextmanager
    def opened(command: int, id: int) -> Iterator[int]:
        yield 100 + id

    monkeypatch.setattr(bpf, "opened", opened)
    return made


def _parse(value: bytes) -> dict[str, int]:
    words = value.decode().split()
    return {f"XDP {words[0]}": int(words[1])} if words else {}


def place(**was: Any) -> RestoreContext:
    host: Any = type("Host", (), {"netlink": "netlink"})()
    return RestoreContext(host, 9, "demo0", replace(WAS, **was))


def program(hook: str, id: int, **fields: Any) -> BpfProgram:
    known: dict[str, Any] = {"hook": hook, "id": id, "tag": b"t", "loaded": 1}
    return BpfProgram(**known | fields)


def test_hooks_of_a_kind() -> None:
    assert hooks("veth") == [IN, OUT]
    assert hooks("netkit") == list(bpf.HOOKS)


def test_what_is_read(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """XDP, tcx, and of tc filters; one that goes meanwhile is known by its number."""
    monkeypatch.setattr(queueing, "program_of", lambda n: n.info)
    kernel.loaded = {3: (b"a", 1), 4: (b"b", 2)}
    kernel.xdp_links = {3: [30]}
    kernel.tcx = {IN: [(4, 0), (5, 50)]}
    nodes = [TcObject(message=RTM_NEWQDISC, handle=1, parent=0, info=i, attributes=b"") for i in (0, 4)]
    assert read(LINK, nodes) == (
        BpfProgram(hook="XDP generic", id=3, name="p3", tag=b"a", loaded=1, by_link=True),
        BpfProgram(hook=IN, id=4, name="p4", tag=b"b", loaded=2),
        BpfProgram(hook=IN, id=5, by_link=True),
        BpfProgram(hook=TC_FILTER, id=4, name="p4", tag=b"b", loaded=2),
    )
    kernel.xdp_links = {}
    assert read(LINK)[0].by_link is False


def test_a_pods_go(kernel: Kernel, calls: Calls) -> None:
    kernel.tcx = {IN: [(4, 0), (5, 50)], OUT: [(4, 0)]}
    at = place(programs=(program(OUT, 4),))
    kernel.loaded = {4: (b"t", 1)}
    restore(at, LINK)
    assert calls.made == [("detach", 9, "XDP generic"), ("detach", IN, 4, 0), ("detach", IN, 5, 50)]
    assert at.touched == {"programs"}
    assert at.refusals == {}


def test_what_was_taken_off_is_looked_at_again(kernel: Kernel) -> None:
    """The audit reads programs if either sort was touched."""
    at = place()
    restore(at, LINK)
    assert at.touched == {"programs"}
    kernel.tcx = {IN: [(4, 0)]}
    at = place()
    restore(at, veth(9, "demo0"))
    assert at.touched == {"programs"}


def test_a_refusal_that_is_no_links(kernel: Kernel, calls: Calls) -> None:
    """Only EBUSY says that a link holds the program: nothing is cut for another reason."""
    calls.refuse = {("detach", "XDP generic"): errno.EPERM}
    kernel.xdp_links = {3: [30]}
    kernel.now = veth(9, "demo0")
    at = place()
    restore(at, LINK)
    assert calls.made == []
    assert at.refusals == {"XDP generic program 3": "Operation not permitted"}


def test_the_hosts_stay(kernel: Kernel, calls: Calls) -> None:
    """Also an XDP program of a record that only says that there was one."""
    kernel.tcx = {IN: [(4, 0)]}
    at = place(programs=(program("XDP generic", 3), program(IN, 4)))
    restore(at, LINK)
    module.detach_pod_programs(place(xdp=True, programs=(program(IN, 4),)), LINK)
    assert calls.made == []
    assert at.touched == set()


def test_what_cannot_be_taken_off(kernel: Kernel, calls: Calls) -> None:
    kernel.tcx = {IN: [(4, 0)]}
    calls.refuse = {"detach": errno.EPERM}
    at = place()
    restore(at, LINK)
    assert at.refusals == dict.fromkeys(("XDP generic program 3", f"{IN} program 4"), "Operation not permitted")


@pytest.mark.parametrize(
    ("now", "held", "cut", "refused"),
    [
        (veth(9, "demo0"), [30, 31], [30], False),
        (veth(9, "demo0", xdp=b"generic 8"), [30], [30], False),
        (None, [30], [30], False),
        (LINK, [30, 31], [30, 31], True),
        (LINK, [], [], True),
    ],
)
def test_an_xdp_program_that_a_link_holds(
    kernel: Kernel, calls: Calls, now: Link | None, held: list[int], cut: list[int], refused: bool
) -> None:
    """The links are cut one after the other until it is gone."""
    calls.refuse = {("detach", "XDP generic"): BUSY}
    kernel.xdp_links = {3: held}
    kernel.now = now  # type: ignore[assignment]
    at = place()
    restore(at, LINK)
    assert [x[0] for x in calls.made] == ["detach_link"] * len(cut)
    assert list(at.refusals) == (["XDP generic program 3"] if refused else [])


@pytest.fixture
def cut(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    monkeypatch.setattr(bpf, "detach_link", found.append)
    return found


def test_which_links_are_cut(kernel: Kernel, calls: Calls, cut: list[int]) -> None:
    calls.refuse = {("detach", "XDP generic"): BUSY}
    kernel.xdp_links = {3: [30, 31]}
    restore(place(), LINK)
    assert cut == [30, 31]


def test_the_hosts_come_back(kernel: Kernel, calls: Calls) -> None:
    """Each before the one that ran next after it and is there; XDP by its descriptor."""
    kernel.tcx = {IN: [(6, 0)]}
    kernel.loaded = dict.fromkeys(range(10), (b"t", 1))
    mine = (program(IN, 4), program(OUT, 8), program(IN, 5), program(IN, 6), program(IN, 7), program("XDP driver", 2))
    restore(place(programs=mine), veth(9, "demo0"))
    assert calls.made == [
        ("attach", IN, 4, 6),
        ("attach", OUT, 8, 0),
        ("attach", IN, 5, 6),
        ("attach", IN, 7, 0),
        ("attach", 9, "XDP driver", 102),
    ]


def test_what_does_not_come_back(kernel: Kernel, calls: Calls) -> None:
    """A filter's (it comes with its filter), a bpf_link's, one that is gone, or another with its number."""
    kernel.loaded = dict.fromkeys((4, 5), (b"t", 1)) | {6: (b"other", 1), 7: (b"t", 2)}
    mine = [program(TC_FILTER, 4), program(IN, 5, by_link=True), *(program(IN, i) for i in (6, 7, 8))]
    at = place(programs=tuple(mine))
    restore(at, veth(9, "demo0"))
    assert calls.made == []
    kernel.loaded[9] = (b"t", 1)
    calls.refuse = {"attach": BUSY}
    at = place(programs=(program(IN, 9),))
    restore(at, veth(9, "demo0"))
    assert list(at.refusals) == [f"{IN} program 9"]


def test_whether_it_is_this_very_program(kernel: Kernel) -> None:
    kernel.loaded = {4: (b"t", 1)}
    assert is_loaded(program(IN, 4)) is True
    assert is_loaded(program(IN, 5)) is False
    assert is_loaded(program(IN, 4, loaded=2)) is False
