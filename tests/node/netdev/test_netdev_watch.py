"""Devices that turn up on the host by themselves, and a udev that names them otherwise, while the daemon runs."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crishim.linux import netns_thread
from crishim.linux.netlink import links
from crishim.netdev import restore
from crishim.netdev.records import Mover, PodRef, State
from tests.node.netdev.furniture import furnish
from tests.node.netdev.lab import Lab
from tests.node.netdev.runtimes import kits

pytestmark = pytest.mark.node
UDEV = Path(__file__).with_name("fake_udev.py")
RUNTIMES = [kit for kit in kits() if kit.mover is Mover.RUNTIME]


async def eventually(look: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(20):
        while not look():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert look(), what


def carry(lab: Lab, name: str, source: Path | str, target: Path | str, new: str) -> None:
    """Move a link from one namespace to another, as somebody else would."""

    def work(here: netns_thread.Netns, there: netns_thread.Netns) -> None:
        link = links.get(here.netlink, name)
        assert link is not None
        for altname in link.altnames:
            links.remove_altname(here.netlink, link.index, altname)
        links.move(here.netlink, link.index, there.fd, new, up=False)

    netns_thread.in_namespaces_thread((source, target), work)


async def lose(lab: Lab, pod: PodRef) -> Path:
    """The pod hides its device in a nested namespace before its stop: that namespace."""
    nested = lab.namespace("nested")
    carry(lab, "net1", pod.netns, nested, "hidden")
    assert [a.state for a in await lab.devices.return_devices(pod)] == [State.LOST]
    return nested


async def test_a_lost_device_that_turns_up(watched: Lab) -> None:
    """Back on the host under another name, bare, without our mark: it is home, as it was, and the record is gone."""
    lab = watched
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    nested = await lose(lab, pod)
    lab.ip("link add decoy0 type veth peer name decoy1")
    carry(lab, "hidden", nested, lab.host, "dev47")
    await eventually(lambda: not lab.devices.attachments(), "it has come home")
    assert lab.picture("demo0") | {"ifindex": 0} == before | {"ifindex": 0}


async def test_one_that_turned_up_while_no_daemon_ran(builtin_lab: Lab) -> None:
    """Found by the first look of the watch; and by the next plan that asks for it, without any watch."""
    lab = builtin_lab
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    nested = await lose(lab, pod)
    lab.devices = lab.driver()
    await lab.devices.recover([pod])
    carry(lab, "hidden", nested, lab.host, "dev47")
    await lab.devices.watch()
    try:
        await eventually(lambda: not lab.devices.attachments(), "it has come home")
    finally:
        await lab.devices.close()
    assert lab.picture("demo0") | {"ifindex": 0} == before | {"ifindex": 0}
    other = lab.pod("pod-b")
    await lab.attach(other, ("demo0", "net1"), run=False)
    carry(lab, "net1", other.netns, nested, "hidden")
    await lab.devices.return_devices(other)
    carry(lab, "hidden", nested, lab.host, "demo0")
    third = lab.pod("pod-c")
    (attached,) = await lab.attach(third, ("demo0", "net1"), run=False)
    assert [a.id for a in lab.devices.attachments()] == [attached.id]
    await lab.devices.return_devices(third)
    assert lab.picture("demo0") | {"ifindex": 0} == before | {"ifindex": 0}


async def test_notifications_that_were_dropped(watched: Lab) -> None:
    """More changes at once than the socket holds, the device among them: it comes home all the same."""
    lab = watched
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    nested = await lose(lab, pod)
    lab.ip("link add noisy0 type ifb")
    flood = [f"link set noisy0 mtu {1300 + n % 100}" for n in range(4000)]
    lab.batch(flood)  # nothing reads meanwhile: this blocks the event loop
    carry(lab, "hidden", nested, lab.host, "dev47")
    lab.batch(flood[:500])
    await eventually(lambda: not lab.devices.attachments(), "it has come home")
    assert lab.picture("demo0") | {"ifindex": 0} == before | {"ifindex": 0}


async def test_a_device_brought_back_by_hand(watched: Lab) -> None:
    """Somebody moves a running pod's device to the host: it is as it was, and the pod's no more."""
    lab = watched
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)

    def work(inside: netns_thread.Netns, host: netns_thread.Netns) -> None:
        link = links.get(inside.netlink, "net1")
        assert link is not None
        links.move(inside.netlink, link.index, host.fd, "byhand", up=False)

    netns_thread.in_namespaces_thread((pod.netns, lab.host), work)
    await eventually(lambda: not lab.devices.attachments(), "it is at home")
    assert lab.picture("demo0") | {"ifindex": 0} == before | {"ifindex": 0}


@pytest.fixture
def udev(watched: Lab) -> Iterator[Callable[[str, str, int], None]]:
    """start(mac, name, times): a udev on the lab's host that gives the link of that MAC a name, so many times."""
    started: list[subprocess.Popen[bytes]] = []

    def start(mac: str, name: str, times: int) -> None:
        argv = ["nsenter", f"--net={watched.host}", sys.executable, str(UDEV), mac, name, str(times)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
        started.append(subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment))
        output = started[-1].stdout
        assert output is not None
        assert output.readline() == b"listening\n"

    yield start
    for process in started:
        process.kill()
        process.communicate()


async def test_a_udev_that_names_it_otherwise(watched: Lab, udev: Callable[[str, str, int], None]) -> None:
    """Renamed when it appears, in the middle of the return or just after: it has its old name, and all else it had."""
    lab = watched
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    udev(before["address"], "lan0", 1)
    await lab.devices.return_devices(pod)
    await eventually(lambda: "demo0" in lab.names() and "lan0" not in lab.names(), "it is called demo0 again")
    assert lab.picture("demo0") == before


async def test_a_rename_in_the_middle_of_the_return(builtin_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice, before the last look at the name: no watch is needed, everything is as it was."""
    lab = builtin_lab
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    restore_flags, names = restore._restore_flags, ["lan0", "lan1"]

    def renamed(*arguments: Any) -> str:
        if names:
            lab.ip(f"link set demo0 name {names.pop()}")
        return restore_flags(*arguments)

    monkeypatch.setattr(restore, "_restore_flags", renamed)
    (returned,) = await lab.devices.return_devices(pod)
    assert (returned.state, returned.warnings, names) == (State.DONE, (), [])
    assert lab.picture("demo0") == before


async def test_a_name_given_after_the_return(watched: Lab) -> None:
    """Renamed back once, as a late udev; who renames it again means it."""
    lab = watched
    before = furnish(lab)
    lab.demo("demo1")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), ("demo1", "net2"), run=False)
    await lab.devices.return_devices(pod)
    lab.ip("link set demo0 name lan0")
    await eventually(lambda: "demo0" in lab.names(), "it is called demo0 again")
    assert lab.picture("demo0") == before
    lab.ip("link set demo0 name lan0")
    lab.ip("link set demo1 name lan1")  # which is seen after it
    await eventually(lambda: "demo1" in lab.names(), "it is called demo1 again")
    assert "lan0" in lab.names()


async def test_a_udev_while_the_device_is_taken(watched: Lab, udev: Callable[[str, str, int], None]) -> None:
    """Renamed between the check and the move, which goes by ifindex: attached, and returned under the name it had."""
    lab = watched
    before = furnish(lab)
    pod = lab.pod()
    async with await lab.plan(pod, ("demo0", "net1")) as plan:
        lab.ip("link set demo0 name lan0")
        await plan.begin()
        (attached,) = await plan.verify_and_repair()
    assert (attached.state, attached.name) == (State.READY, "net1")
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


@pytest.mark.parametrize("lab", RUNTIMES, indirect=True, ids=[kit.name for kit in RUNTIMES])
async def test_a_udev_while_an_oci_runtime_takes_it(lab: Lab) -> None:
    """Renamed between the check and the move: a runtime goes by the name and fails; the device is as it was."""
    before = furnish(lab)
    pod = lab.pod()
    async with await lab.plan(pod, ("demo0", "net1")) as plan:
        await plan.begin()
        container = lab.container(pod, plan.entries)
        lab.ip("link set demo0 name lan0")
        with pytest.raises(RuntimeError):
            container.create()
    assert lab.picture("demo0") == before
    await lab.attach(pod, ("demo0", "net1"))
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_the_name_is_one_that_udev_keeps(builtin_lab: Lab) -> None:
    """name_assign_type is 4 (renamed) after the return: udev's policy "keep" leaves such a name alone."""
    lab = builtin_lab
    lab.demo()
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    await lab.devices.return_devices(pod)

    def kind(host: netns_thread.Netns) -> str:
        file = os.open("class/net/demo0/name_assign_type", os.O_RDONLY, dir_fd=host.sysfs)
        try:
            return os.read(file, 16).decode().strip()
        finally:
            os.close(file)

    assert netns_thread.in_namespaces_thread((lab.host,), kind) == "4"
