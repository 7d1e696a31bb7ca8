"""Devices into a pod and kept there: acceptance cases 1 to 4, 6 to 9, 13, 14, 20 and 25, under every mover."""

import subprocess
from typing import Any

import msgspec
import pytest

from crishim.errors import CrishimError, Kind
from crishim.linux.netlink import links
from crishim.netdev.records import Source, State
from tests.node.netdev.lab import Lab, request

pytestmark = pytest.mark.node


async def test_the_device_arrives_as_it_was_and_goes_back(lab: Lab) -> None:
    """Name, MTU, MAC, addresses and UP in the pod; the very same link on the host after the return (14)."""
    before = lab.demo()
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"))
    inside = lab.link("net1", pod.netns)
    assert inside is not None
    assert lab.link("demo0") is None
    assert (inside["mtu"], inside["address"]) == (1400, before["address"])
    assert {"UP", "LOWER_UP"} <= set(inside["flags"])
    assert [f"{a['local']}/{a['prefixlen']}" for a in lab.addresses("net1", pod.netns)] == list(attached.addresses)
    assert (attached.state, attached.name, attached.index) == (State.READY, "net1", inside["ifindex"])
    assert attached.warnings == ()
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.state is State.DONE
    assert lab.picture("demo0") == before


async def test_a_container_is_created_anew_three_times(lab: Lab) -> None:
    """Device, in-pod ifindex and addresses stay the same while containers die and come (1)."""
    before = lab.demo()
    pod = lab.pod()
    (first,) = await lab.attach(pod, ("demo0", "net1"))
    addresses = lab.addresses("net1", pod.netns)
    for _ in range(3):
        lab.containers[0].kill()
        async with await lab.plan(pod, ("demo0", "net1")) as plan:
            await plan.begin()
            assert plan.entries == {}
            container = lab.container(pod, plan.entries)
            container.create()
            (again,) = await plan.verify_and_repair()
            container.start()
        assert again == first
        assert lab.addresses("net1", pod.netns) == addresses
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_init_main_and_sidecar_share_one_device(lab: Lab) -> None:
    """Three containers of a pod name one device through CDI: one move, all three start (2)."""
    lab.demo()
    pod = lab.pod()
    for name in ("init", "main", "sidecar"):
        asked = msgspec.structs.replace(request("demo0", "net1", Source.CDI), origin=f"vendor.com/nic={name}")
        async with await lab.devices.plan([asked, asked], pod, lab.kit.mover) as plan:
            await plan.begin()
            container = lab.container(pod, plan.entries)
            container.create()
            (attached,) = await plan.verify_and_repair()
            container.start()
    assert attached.sources == ("cdi: vendor.com/nic=init", "cdi: vendor.com/nic=main", "cdi: vendor.com/nic=sidecar")
    assert len(lab.containers) == 3
    await lab.devices.return_devices(pod)


async def test_its_own_altname_becomes_its_name(lab: Lab) -> None:
    """Its altname is dropped, taken as the name in the pod, and is an altname again after the return (7)."""
    lab.demo()
    lab.ip("link property add dev demo0 altname net1")
    lab.ip("link property add dev demo0 altname other-name")
    before = lab.picture("demo0")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    inside = lab.link("net1", pod.netns)
    assert inside is not None
    assert inside["ifname"] == "net1"
    assert "other-name" in inside["altnames"]
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_an_altname_is_a_key(lab: Lab) -> None:
    """A device named by its altname is resolved to its primary name, in config.json too; its name is kept (7)."""
    lab.demo()
    lab.ip("link property add dev demo0 altname a-very-long-alternative-name")
    before = lab.picture("demo0")
    pod = lab.pod()
    async with await lab.plan(pod, ("a-very-long-alternative-name", "")) as plan:
        assert set(plan.entries) <= {"demo0"}
    assert lab.picture("demo0") == before
    (attached,) = await lab.attach(pod, ("a-very-long-alternative-name", ""))
    assert attached.name == "demo0"
    await lab.attach(pod, ("demo0", ""))
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_a_template_takes_the_first_free_number(lab: Lab) -> None:
    """net%d with net0 present gives net1; the next container finds it; a second device gets net2 (8)."""
    before = lab.demo("demo0")
    lab.demo("demo1")
    pod = lab.pod()
    lab.ip("link add net0 type ifb", pod.netns)
    (first,) = await lab.attach(pod, ("demo0", "net%d"))
    assert first.name == "net1"
    assert await lab.attach(pod, ("demo0", "net%d")) == (first,)
    assert await lab.attach(pod, ("demo0", "net1")) == (first,)
    (second,) = await lab.attach(pod, ("demo1", "net%d"))
    assert second.name == "net2"
    assert {"net0", "net1", "net2"} <= lab.names(pod.netns)
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_the_old_name_may_be_taken_in_the_pod(lab: Lab) -> None:
    """A pod with an interface called as the device is on the host: no clash, also not with a template."""
    before = lab.demo()
    pod = lab.pod()
    lab.ip("link add demo0 type ifb", pod.netns)
    (attached,) = await lab.attach(pod, ("demo0", "net%d"))
    assert attached.name == "net0"
    assert attached.addresses
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_a_running_pod_gets_and_gives_a_device(builtin_lab: Lab) -> None:
    """attach and detach by the built-in mover; detach takes the host name, an altname or the in-pod name."""
    lab = builtin_lab
    lab.demo()
    lab.ip("link property add dev demo0 altname also")
    before = lab.picture("demo0")
    pod = lab.pod()
    for key in ("demo0", "also", "net1"):
        attached = await lab.devices.attach(pod, request("demo0", "net1", Source.COMMAND))
        assert attached.state is State.READY
        assert lab.devices.attachments(pod.id) == [attached]
        assert (await lab.devices.detach(pod, key)).state is State.DONE
        assert lab.picture("demo0") == before
    with pytest.raises(CrishimError, match="net1") as caught:
        await lab.devices.detach(pod, "net1")
    assert caught.value.kind is Kind.NOT_FOUND


async def test_no_descriptor_of_ours_reaches_a_child(builtin_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child started during a move, with every descriptor that is not close-on-exec, has none of ours (25)."""
    lab = builtin_lab
    lab.demo()
    pod = lab.pod()
    seen: list[str] = []
    move = links.move

    def move_and_look(*args: Any, **options: Any) -> None:
        move(*args, **options)
        argv = ["/bin/ls", "-l", "/proc/self/fd"]
        seen.append(subprocess.run(argv, close_fds=False, capture_output=True, text=True, check=True).stdout)

    monkeypatch.setattr(links, "move", move_and_look)
    await lab.attach(pod, ("demo0", "net1"), run=False)
    await lab.devices.return_devices(pod)
    assert len(seen) == 2
    for listing in seen:
        assert str(lab.directory) not in listing
        assert "net:[" not in listing
        assert "socket:[" not in listing


@pytest.mark.parametrize("how", ["ifb", "tap", "macvlan"])
async def test_other_kinds_of_device(lab: Lab, how: str) -> None:
    """ifb, tap and macvlan devices come and go as veth does (15)."""
    lab.demo("demo0")
    words = {
        "ifb": "link add x0 type ifb",
        "tap": "tuntap add x0 mode tap",
        "macvlan": "link add x0 link demo0 type macvlan",
    }
    lab.ip(words[how])
    lab.ip("link set x0 up")
    lab.ip("addr add 198.51.100.9/24 dev x0")
    before = lab.picture("x0")
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("x0", "net1"))
    assert attached.addresses == ("198.51.100.9/24",)
    await lab.devices.return_devices(pod)
    assert lab.picture("x0") == before
