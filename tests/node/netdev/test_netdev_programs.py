"""BPF programs: none of a pod's survives the return, the host's are on the device again or named in a warning."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crishim.linux import bpf, mounts, netns_thread, xdp
from crishim.linux.netlink import links
from crishim.netdev import restore, return_device
from crishim.netdev.records import Attachment, PodRef
from tests.node.netdev import bpf_samples
from tests.node.netdev.bpf_links import on_device, programs_of
from tests.node.netdev.bpf_samples import SCHED_CLS, XDP
from tests.node.netdev.furniture import furnish
from tests.node.netdev.lab import Lab

pytestmark = pytest.mark.node
Attach = Callable[[netns_thread.Netns, int, list[int]], None]


@pytest.fixture
def held() -> Iterator[list[int]]:
    """Descriptors that somebody goes on holding: a pod's process, or a daemon of the host."""
    descriptors: list[int] = []
    yield descriptors
    bpf_samples.close(*descriptors)


def xdp_by_netlink(mode: str) -> Attach:
    def attach(end: netns_thread.Netns, index: int, held: list[int]) -> None:
        program = bpf_samples.load(XDP, 2)
        xdp.attach(end.netlink, index, mode, program)
        os.close(program)

    return attach


def xdp_by_link(mode: str) -> Attach:
    def attach(end: netns_thread.Netns, index: int, held: list[int]) -> None:
        program = bpf_samples.load(XDP, 2)
        held += [program, bpf_samples.link(program, index, bpf_samples.ATTACH_XDP, bpf_samples.BPF_XDP_FLAGS[mode])]

    return attach


def tcx(hook: str, *, by_link: bool, count: int = 1) -> Attach:
    def attach(end: netns_thread.Netns, index: int, held: list[int]) -> None:
        for answer in range(count):
            program = bpf_samples.load(SCHED_CLS, answer)
            held.append(program)
            if by_link:
                held.append(bpf_samples.link(program, index, bpf.HOOKS[hook]))
            else:
                bpf.attach(index, hook, bpf_samples.number(program))

    return attach


def everywhere(end: netns_thread.Netns, index: int, held: list[int]) -> None:
    """Every hook at once, mixed."""
    xdp_by_link("XDP generic")(end, index, held)
    for hook in ("tcx ingress", "tcx egress"):
        tcx(hook, by_link=True, count=3)(end, index, held)
        tcx(hook, by_link=False, count=3)(end, index, held)


WAYS: dict[str, Attach] = {
    "XDP, driver": xdp_by_netlink("XDP driver"),
    "XDP, generic": xdp_by_netlink("XDP generic"),
    "XDP, driver, by a link": xdp_by_link("XDP driver"),
    "XDP, generic, by a link": xdp_by_link("XDP generic"),
    "tcx ingress": tcx("tcx ingress", by_link=False),
    "tcx egress": tcx("tcx egress", by_link=False),
    "tcx ingress, by links": tcx("tcx ingress", by_link=True, count=2),
    "tcx egress, by links": tcx("tcx egress", by_link=True, count=2),
    "everywhere": everywhere,
}


@pytest.mark.parametrize("way", WAYS)
async def test_no_program_of_the_pod_reaches_the_host(builtin_lab: Lab, way: str, held: list[int]) -> None:
    """However it was attached and whoever holds its bpf_link: it would go on seeing the host's packets."""
    lab = builtin_lab
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    on_device(pod.netns, "net1", lambda end, index: WAYS[way](end, index, held))
    assert programs_of(lab, "net1", pod.netns)
    (returned,) = await lab.devices.return_devices(pod)
    assert programs_of(lab, "demo0") == []
    assert returned.warnings == ()
    assert lab.picture("demo0") == before


async def test_programs_are_off_before_the_next_device_is_moved(
    builtin_lab: Lab, held: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Devices of a pod are restored when all of them are home: until then somebody on the host may bring one up."""
    lab = builtin_lab
    lab.demo("demo0")
    lab.demo("demo1")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), ("demo1", "net2"), run=False)
    for name in ("net1", "net2"):
        on_device(pod.netns, name, lambda end, index: everywhere(end, index, held))
    left: list[list[tuple[str, int]]] = []
    move_to_host = restore.move_to_host

    def watched(known: Attachment, host: Any, inside: Any) -> Any:
        problems = move_to_host(known, host, inside)
        left.append(programs_of(lab, known.device))
        return problems

    monkeypatch.setattr(return_device, "move_to_host", watched)
    await lab.devices.return_devices(pod)
    assert left == [[], []]


async def test_a_pinned_link_holds_no_program_on_the_device(builtin_lab: Lab, tmp_path: Path) -> None:
    """Pinned in a bpffs the link outlives every process: detached all the same, the pin is a link without a device."""
    lab = builtin_lab
    lab.demo()
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    bpf_samples.mount_bpffs(str(tmp_path))
    try:

        def attach(end: netns_thread.Netns, index: int) -> None:
            program = bpf_samples.load(SCHED_CLS, 2)
            link = bpf_samples.link(program, index, bpf.HOOKS["tcx ingress"])
            bpf_samples.pin(link, f"{tmp_path}/pinned")
            bpf_samples.close(link, program)

        on_device(pod.netns, "net1", attach)
        assert programs_of(lab, "net1", pod.netns)
        (returned,) = await lab.devices.return_devices(pod)
        assert programs_of(lab, "demo0") == []
        assert returned.warnings == ()
    finally:
        mounts.unmount(tmp_path)


async def test_traffic_passes_after_the_return(builtin_lab: Lab, held: list[int]) -> None:
    """A program that drops everything, held by a link of a process that lives on: the host's ping is answered."""
    lab = builtin_lab
    far = lab.namespace("far")
    lab.demo()
    subnet = lab.addresses("demo0")[0]["local"].rsplit(".", 1)[0]
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    lab.ip(f"link set demo0-peer netns {far}")
    lab.ip(f"addr add {subnet}.8/24 dev demo0-peer", far)
    lab.ip("link set demo0-peer up", far)

    def drop(end: netns_thread.Netns, index: int) -> None:
        program = bpf_samples.load(SCHED_CLS, 2)  # TC_ACT_SHOT
        held.extend([program, bpf_samples.link(program, index, bpf.HOOKS["tcx egress"])])

    on_device(pod.netns, "net1", drop)
    await lab.devices.return_devices(pod)
    deadline = time.monotonic() + 10
    while not lab.answers(f"{subnet}.8"):
        assert time.monotonic() < deadline, "the host's packets do not get through"


async def test_filters_and_disciplines_of_the_pod_are_gone(builtin_lab: Lab) -> None:
    """clsact with a BPF filter, another root discipline: the kernel takes them off with the move; nothing is left."""
    lab = builtin_lab
    before = furnish(lab)
    disciplines = lab.tc("qdisc show dev demo0")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    for words in (
        "qdisc add dev net1 clsact",
        "filter add dev net1 ingress protocol all u32 match u32 0 0 action mirred egress redirect dev net1",
        "filter add dev net1 egress protocol all u32 match u32 0 0 action mirred egress redirect dev net1",
        "qdisc add dev net1 root handle 7: tbf rate 8bit burst 1600 limit 3000",
    ):
        lab.tc(words, pod.netns)
    (returned,) = await lab.devices.return_devices(pod)
    assert lab.tc("qdisc show dev demo0") == disciplines
    assert lab.tc("filter show dev demo0 ingress") == lab.tc("filter show dev demo0 egress") == []
    assert returned.warnings == ()
    assert lab.picture("demo0") == before


HOST_WAYS: dict[str, Attach] = {
    "XDP": xdp_by_netlink("XDP driver"),
    "tcx": tcx("tcx ingress", by_link=False, count=3),
    "tcx, by links": tcx("tcx egress", by_link=True, count=2),
    "XDP, by a link": xdp_by_link("XDP generic"),
}


@pytest.mark.parametrize("way", HOST_WAYS)
async def test_programs_of_the_host_stay(builtin_lab: Lab, way: str, held: list[int]) -> None:
    """They go with the device and come back with it, in their order; the pod's between them are taken out."""
    lab = builtin_lab
    lab.demo()
    on_device(lab.host, "demo0", lambda end, index: HOST_WAYS[way](end, index, held))
    before = programs_of(lab, "demo0")
    assert before
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)

    def join(end: netns_thread.Netns, index: int) -> None:
        for hook in ("tcx ingress", "tcx egress"):
            for by_link in (True, False):
                tcx(hook, by_link=by_link)(end, index, held)

    on_device(pod.netns, "net1", join)
    (returned,) = await lab.devices.return_devices(pod)
    assert programs_of(lab, "demo0") == before
    assert returned.warnings == ()


def strip(end: netns_thread.Netns, index: int) -> None:
    """Take every program off, as a pod may."""
    link = links.get(end.netlink, index)
    assert link is not None
    for mode in xdp.parse(link.xdp):
        xdp.detach(end.netlink, index, mode)
    for hook in ("tcx ingress", "tcx egress"):
        for program, held in bpf.query(index, hook):
            bpf.detach(index, hook, program, held)


async def test_programs_of_the_host_are_put_back_in_their_order(builtin_lab: Lab, held: list[int]) -> None:
    """The pod took them off; they are loaded still (something on the host holds them): they are on again."""
    lab = builtin_lab
    lab.demo()

    def attach(end: netns_thread.Netns, index: int) -> None:
        tcx("tcx ingress", by_link=False, count=3)(end, index, held)
        held.append(bpf_samples.load(XDP, 2))
        xdp.attach(end.netlink, index, "XDP generic", held[-1])

    on_device(lab.host, "demo0", attach)
    before = programs_of(lab, "demo0")
    assert len(before) == 4
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    on_device(pod.netns, "net1", strip)
    assert programs_of(lab, "net1", pod.netns) == []
    (returned,) = await lab.devices.return_devices(pod)
    assert programs_of(lab, "demo0") == before
    assert returned.warnings == ()


async def test_programs_of_the_host_that_cannot_be_put_back_are_named(builtin_lab: Lab, held: list[int]) -> None:
    """One that only the device held is gone for good, one that a bpf_link held is its owner's to attach."""
    lab = builtin_lab
    lab.demo()

    def attach(end: netns_thread.Netns, index: int) -> None:
        program = bpf_samples.load(SCHED_CLS, 0, "guard")
        bpf.attach(index, "tcx ingress", bpf_samples.number(program))
        os.close(program)
        tcx("tcx egress", by_link=True)(end, index, held)

    on_device(lab.host, "demo0", attach)
    gone, linked = (id for _, id in programs_of(lab, "demo0"))
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    on_device(pod.netns, "net1", strip)
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.warnings == (
        f"tcx ingress program {gone} (guard) of demo0 was not restored: it is gone",
        f"tcx egress program {linked} of demo0 was not restored: "
        "a bpf_link held it there, whose owner has to attach it again",
    )


async def test_a_detach_under_a_running_pod(builtin_lab: Lab, held: list[int]) -> None:
    """`crishim netdev detach` leaves the pod's processes alive, with their links: they hold nothing any more."""
    lab = builtin_lab
    lab.demo()
    pod = PodRef(id="pod-c", netns=str(lab.namespace("pod-c")), title="default/pod-c")
    await lab.attach(pod, ("demo0", "net1"), run=False)
    on_device(pod.netns, "net1", lambda end, index: everywhere(end, index, held))
    await lab.devices.detach(pod, "net1")
    assert programs_of(lab, "demo0") == []
