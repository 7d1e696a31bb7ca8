"""Devices back on the host: acceptance cases 5, 15 to 18, 21 and 24, under every mover."""

import ctypes
import os
import platform
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from netdev_lab import Lab

from crishim.errors import CrishimError, Kind
from crishim.netdev.records import Mover, Pod, State
from crishim.wire.linux import libc, links, namespaces, netns_thread
from crishim.wire.linux.rtnetlink import attribute, nested

pytestmark = pytest.mark.node

SETTINGS = {
    "ipv4": {"rp_filter": "2", "arp_announce": "2", "arp_ignore": "1", "proxy_arp": "1", "forwarding": "1"},
    "ipv6": {"accept_ra": "0", "autoconf": "0", "forwarding": "1", "dad_transmits": "3", "hop_limit": "33"},
}


def set_settings(link: str, values: dict[str, dict[str, str]]) -> None:
    for family, pairs in values.items():
        for name, value in pairs.items():
            Path(f"/proc/sys/net/{family}/conf/{link}/{name}").write_text(value)


def set_neighbours(link: str) -> None:
    for family in ("ipv4", "ipv6"):
        for name, value in (("base_reachable_time_ms", "12000"), ("ucast_solicit", "7"), ("unres_qlen_bytes", "65536")):
            Path(f"/proc/sys/net/{family}/neigh/{link}/{name}").write_text(value)


def furnish(lab: Lab) -> dict[str, Any]:
    """demo0 with settings, routes in several tables, an alias, an altname, a queue length; its picture."""
    lab.demo()
    lab.inside(lab.host, lambda: set_settings("demo0", SETTINGS))
    lab.inside(lab.host, lambda: set_neighbours("demo0"))
    lab.ip("link set dev demo0 txqueuelen 321 alias uplink-of-rack-7 group 9 multicast off")
    lab.ip("link property add dev demo0 altname enp7s0-backup")
    number = sum(b"demo0") % 200
    lab.ip("link add other0 type ifb")
    lab.ip("addr add 198.51.100.1/24 dev other0")
    lab.ip("link set other0 up")
    for words in (
        f"10.1.0.0/16 via 192.0.{number}.1 dev demo0 metric 7 mtu 1300",
        f"default via 192.0.{number}.1 dev demo0 table 100",
        "10.2.0.0/16 dev demo0 scope link table 4711 proto static",
        f"10.3.0.0/16 via 203.0.113.1 dev demo0 onlink src 192.0.{number}.7",
    ):
        lab.ip(f"route add {words}")
    lab.ip(f"-6 route add 2001:db8:aaaa::/48 via 2001:db8:{number}::1 dev demo0 metric 5")
    lab.ip(f"-6 route add default via 2001:db8:{number}::1 dev demo0 table 100")
    return lab.picture("demo0")


async def test_everything_comes_back(lab: Lab) -> None:
    """Name, ifindex, MTU, MAC, alias, altname, addresses, routes of every table, settings, UP (15)."""
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.warnings == ()
    assert lab.picture("demo0") == before
    assert list(lab.journal.iterdir()) == []


async def test_a_multipath_route_comes_back_whole(builtin_lab: Lab) -> None:
    """Routes over this device and another, of both families, have all their hops and weights after the return."""
    lab = builtin_lab
    lab.demo("demo0")
    lab.demo("demo1")
    first, second = (sum(name) % 200 for name in (b"demo0", b"demo1"))
    lab.ip(
        f"route add 10.9.0.0/16 nexthop via 192.0.{first}.1 dev demo0 weight 2 nexthop via 192.0.{second}.1 dev demo1"
    )
    lab.ip(
        f"-6 route add 2001:db8:bbbb::/48 nexthop via 2001:db8:{first}::1 dev demo0 weight 3 "
        f"nexthop via 2001:db8:{second}::1 dev demo1"
    )

    def hops() -> list[Any]:
        routes = lab.json("-4 route show 10.9.0.0/16") + lab.json("-6 route show 2001:db8:bbbb::/48")
        return [sorted((h["dev"], h["gateway"], h["weight"]) for h in r.get("nexthops", [])) for r in routes]

    before = lab.picture("demo0"), hops()
    assert [len(h) for h in before[1]] == [2, 2]
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.warnings == ()
    assert (lab.picture("demo0"), hops()) == before


async def test_a_device_that_was_down_is_down_again(lab: Lab) -> None:
    """UP in the pod, DOWN with its addresses on the host before and after."""
    lab.ip("link add demo0 type veth peer name demo0-peer")
    lab.ip("addr add 192.0.2.1/24 dev demo0")
    before = lab.picture("demo0")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    inside = lab.link("net1", pod.netns)
    assert inside is not None
    assert "UP" in inside["flags"]
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_returning_twice_is_fine(lab: Lab) -> None:
    """The second return finds nothing to do and says so (15); so does one for a pod that never had a device."""
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    assert len(await lab.devices.return_devices(pod)) == 1
    assert await lab.devices.return_devices(pod) == ()
    assert await lab.devices.return_devices(Pod(id="nobody", netns="")) == ()
    assert lab.picture("demo0") == before


async def test_a_leaked_descriptor_keeps_nothing_away(lab: Lab) -> None:
    """Somebody keeps the pod's namespace open: the device is back all the same (15)."""
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    leaked = os.open(pod.netns, os.O_RDONLY)
    try:
        await lab.devices.return_devices(pod)
        assert lab.picture("demo0") == before
    finally:
        os.close(leaked)


async def test_another_ifindex_when_the_old_one_is_taken(lab: Lab) -> None:
    """The old ifindex is somebody else's by now: a new one, routes and all; no warning is due (15)."""
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    lab.ip(f"link add squatter index {before['ifindex']} type ifb")
    await lab.devices.return_devices(pod)
    after = lab.picture("demo0")
    assert after["ifindex"] != before["ifindex"]
    assert {k: v for k, v in after.items() if k != "ifindex"} == {k: v for k, v in before.items() if k != "ifindex"}


def spoil(lab: Lab, pod: Pod) -> None:
    """What a privileged pod may do to its device."""
    lab.ip("link set net1 down", pod.netns)
    lab.ip("link set net1 name mine", pod.netns)
    lab.ip("link set mine address 02:00:00:00:00:99 mtu 1350 alias ha txqueuelen 5", pod.netns)
    lab.ip("addr flush dev mine", pod.netns)
    lab.ip("addr add 203.0.113.77/24 dev mine", pod.netns)
    lab.ip("link property add dev mine altname stray", pod.netns)
    lab.ip("link set mine up promisc on", pod.netns)


async def test_a_device_the_pod_changed_is_found_and_restored(lab: Lab) -> None:
    """Renamed, another MAC, MTU, alias, addresses and altname: found, and restored to the host's values (16)."""
    before = furnish(lab)
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"))
    spoil(lab, pod)
    lab.ip(f"link property del dev mine altname {attached.altname}", pod.netns)
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.state is State.DONE
    assert lab.picture("demo0") == before


def carry_off(lab: Lab, pod: Pod, target: Path) -> None:
    """Move net1 from the pod into another namespace."""

    def work(inside: netns_thread.End, away: netns_thread.End) -> None:
        link = links.get(inside.netlink, "net1")
        assert link is not None
        links.move(inside.netlink, link.index, away.fd, "hidden", up=False)

    netns_thread.across((pod.netns, target), work)


async def test_a_device_in_a_nested_namespace_is_lost(builtin_lab: Lab) -> None:
    """LOST with a reason, the stop succeeds, twice; when it turns up again it is returned; else forgotten (16)."""
    lab = builtin_lab
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    nested = lab.namespace("nested")
    carry_off(lab, pod, nested)
    (lost,) = await lab.devices.return_devices(pod)
    assert lost.state is State.LOST
    assert "neither on the host nor in its pod" in lost.reason
    assert [a.state for a in await lab.devices.return_devices(pod)] == [State.LOST]
    assert lab.devices.attachments() == [lost]

    def bring(away: netns_thread.End, host: netns_thread.End) -> None:
        link = links.get(away.netlink, "hidden")
        assert link is not None
        links.move(away.netlink, link.index, host.fd, "found", up=False)

    netns_thread.across((nested, lab.host), bring)
    assert [a.state for a in await lab.devices.return_devices(pod)] == [State.DONE]
    after = lab.picture("demo0") | {"ifindex": before["ifindex"]}  # its finder did not care for the ifindex
    assert after == before


async def test_a_lost_device_is_forgotten_with_its_pod(builtin_lab: Lab) -> None:
    """forget() drops the LOST record; its name on the host may then be used by a new device, also before."""
    lab = builtin_lab
    lab.demo()
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    lab.ip("link del net1", pod.netns)
    assert (await lab.devices.return_devices(pod))[0].state is State.LOST
    before = lab.demo()
    other = lab.pod("pod-b")
    await lab.attach(other, ("demo0", "net1"), run=False)
    await lab.devices.forget(pod.id)
    assert [a.pod.id for a in lab.devices.attachments()] == [other.id]
    await lab.devices.return_devices(other)
    assert lab.picture("demo0") == before
    assert list(lab.journal.iterdir()) == []


async def test_a_device_that_died_in_the_pod_may_be_asked_for_again(builtin_lab: Lab) -> None:
    """A new device of that name on the host is attached; without one the request is NOT_FOUND."""
    lab = builtin_lab
    lab.demo()
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    lab.ip("link del net1", pod.netns)
    with pytest.raises(CrishimError) as caught:
        await lab.attach(pod, ("demo0", "net1"), run=False)
    assert caught.value.kind is Kind.NOT_FOUND
    before = lab.demo()
    (again,) = await lab.attach(pod, ("demo0", "net1"), run=False)
    assert again.state is State.READY
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_a_host_name_taken_meanwhile(lab: Lab) -> None:
    """Fallback name and a warning that has both names; the squatter is untouched (17)."""
    before = furnish(lab)
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"))
    lab.ip("link add demo0 type ifb")
    squatter = lab.picture("demo0")
    (returned,) = await lab.devices.return_devices(pod)
    fallback = f"demo0-{attached.id[:4]}"
    assert returned.state is State.DONE
    assert any("demo0" in w and fallback in w for w in returned.warnings)
    after = lab.picture(fallback)
    assert lab.picture("demo0") == squatter
    labels = [{k: v for k, v in a.items() if k != "label"} for a in after["addresses"]]
    assert labels == [{k: v for k, v in a.items() if k != "label"} for a in before["addresses"]]
    for same in ("ifindex", "mtu", "address", "altnames", "settings", "flags"):
        assert after[same] == before[same]


async def test_the_next_attempt_of_the_pod_gets_the_device(lab: Lab) -> None:
    """Stop, then a new sandbox of the same pod: attach works (18)."""
    before = furnish(lab)
    for attempt in ("pod-a", "pod-a-1"):
        pod = lab.pod(attempt)
        (attached,) = await lab.attach(pod, ("demo0", "net1"))
        assert attached.state is State.READY
        await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_a_macvlan_dies_with_its_parent(lab: Lab) -> None:
    """The parent is deleted while the pod has the macvlan: LOST, the stop succeeds (21)."""
    lab.demo("parent0")
    lab.ip("link add mv0 link parent0 type macvlan")
    pod = lab.pod()
    await lab.attach(pod, ("mv0", "net1"))
    lab.ip("link del parent0")
    (lost,) = await lab.devices.return_devices(pod)
    assert lost.state is State.LOST
    assert lost.reason
    await lab.devices.forget(pod.id)


async def test_removal_without_stop(lab: Lab) -> None:
    """A pod handle without its namespace path still finds it in the journal; then a pod whose namespace died (24)."""
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    await lab.devices.return_devices(msgspec.structs.replace(pod, netns=""))
    assert lab.picture("demo0") == before
    doomed = lab.pod("pod-b")
    await lab.attach(doomed, ("demo0", "net1"), run=False)
    for container in list(lab.containers):
        container.kill()
    namespaces.unpin(Path(doomed.netns))
    (lost,) = await lab.devices.return_devices(doomed)
    assert lost.state is State.LOST
    await lab.devices.forget(doomed.id)


async def test_a_missing_second_device_moves_nothing(lab: Lab) -> None:
    """Refused before the first is touched; works as soon as the second appears (5)."""
    before = lab.demo("demo0")
    pod = lab.pod()
    with pytest.raises(CrishimError, match="demo1"):
        await lab.attach(pod, ("demo0", "net1"), ("demo1", "net2"))
    assert lab.picture("demo0") == before
    lab.demo("demo1")
    await lab.attach(pod, ("demo0", "net1"), ("demo1", "net2"))
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_a_second_device_that_goes_away_in_between(lab: Lab) -> None:
    """It vanishes after the checks: the first is back, UP, with its addresses; a retry works (5)."""
    before = furnish(lab)
    lab.demo("demo1")
    pod = lab.pod()
    with pytest.raises((CrishimError, RuntimeError), match="demo1"):  # noqa: PT012
        async with await lab.plan(pod, ("demo0", "net1"), ("demo1", "net2")) as plan:
            lab.ip("link del demo1")
            await plan.begin()
            lab.container(pod, plan.entries).create()
    assert lab.picture("demo0") == before
    assert [a.state for a in lab.devices.attachments()] in ([], [State.LOST])
    lab.demo("demo1")
    await lab.attach(pod, ("demo0", "net1"), ("demo1", "net2"))
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_a_name_taken_after_the_checks(lab: Lab) -> None:
    """The kernel leaves the device in the pod under its old name, down: it is brought back, nothing is stranded (6)."""
    before = [furnish(lab), lab.demo("demo1")]
    pod = lab.pod()
    names = lab.names(pod.netns)
    with pytest.raises((CrishimError, RuntimeError)):  # noqa: PT012
        async with await lab.plan(pod, ("demo0", "net1"), ("demo1", "net2")) as plan:
            lab.ip("link add net2 type ifb", pod.netns)
            await plan.begin()
            lab.container(pod, plan.entries).create()
    assert [lab.picture("demo0"), lab.picture("demo1")] == before
    assert lab.names(pod.netns) == {*names, "net2"}
    assert lab.devices.attachments() == []


async def test_a_failed_container_takes_its_devices_back(lab: Lab) -> None:
    """The runtime refuses the container after the moves: the devices are back, the leases are free."""
    before = furnish(lab)
    pod = lab.pod()
    with pytest.raises(RuntimeError):  # noqa: PT012
        async with await lab.plan(pod, ("demo0", "net1")) as plan:
            await plan.begin()
            container = lab.container(pod, plan.entries)
            (container.bundle / "rootfs/bin/sh").unlink()
            container.create()
            container.start()
    assert lab.picture("demo0") == before
    assert lab.devices.attachments() == []
    await lab.attach(pod, ("demo0", "net1"))
    await lab.devices.return_devices(pod)


async def test_a_runtime_that_ignores_the_field_is_made_up_for(lab: Lab) -> None:
    """A runtime that left the device on the host: moved and verified all the same, never a silent start (14)."""
    before = furnish(lab)
    pod = lab.pod()
    async with await lab.devices.plan([_wish()], pod, Mover.RUNTIME) as plan:
        await plan.begin()
        lab.container(pod, {}).create()
        (attached,) = await plan.verify_and_repair()
    assert attached.state is State.READY
    assert lab.link("net1", pod.netns)
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


def _wish() -> Any:
    from netdev_lab import request

    return request("demo0", "net1")


async def test_a_pod_that_floods_the_device_with_altnames(builtin_lab: Lab) -> None:
    """As many altnames as the kernel takes, nearly 64 KiB of them: all are off again, the device is back."""
    lab = builtin_lab
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)

    def flood(inside: netns_thread.End) -> int:
        link = links.get(inside.netlink, "net1")
        assert link is not None
        for number in range(1000):
            try:
                links.add_altname(inside.netlink, link.index, f"{number:0120}")
            except OSError:
                return number
        return 1000

    assert netns_thread.across((pod.netns,), flood) > 400
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.state is State.DONE
    assert lab.picture("demo0") == before


async def test_a_device_in_a_bridge_of_the_pod(lab: Lab) -> None:
    """The pod made it a bridge's port and put a macvlan on a second one: both come home, alone."""
    before = [furnish(lab), lab.demo("demo1")]
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), ("demo1", "net2"))
    for words in ("link add br0 type bridge", "link set net1 master br0", "link add mv0 link net2 type macvlan"):
        lab.ip(words, pod.netns)
    await lab.devices.return_devices(pod)
    assert [lab.picture("demo0"), lab.picture("demo1")] == before


async def test_an_xdp_program_of_the_pod_does_not_reach_the_host(builtin_lab: Lab) -> None:
    """A program the pod attached would go on seeing the host's packets: it is taken off at the return."""
    lab = builtin_lab
    before = furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    program = load_xdp_pass()
    try:

        def attach(inside: netns_thread.End) -> None:
            link = links.get(inside.netlink, "net1")
            assert link is not None
            value = nested(links.IFLA_XDP, attribute(links.IFLA_XDP_FD, struct.pack("=i", program)))
            inside.netlink.request(links.RTM_SETLINK, struct.pack("=BxHiII", 0, 0, link.index, 0, 0) + value)

        netns_thread.across((pod.netns,), attach)
    finally:
        os.close(program)
    assert "xdp" in lab.ip("link show net1", pod.netns)
    await lab.devices.return_devices(pod)
    assert "xdp" not in lab.ip("link show demo0")
    assert lab.picture("demo0") == before


def load_xdp_pass() -> int:
    """A descriptor of the program `return XDP_PASS`, bpf(2)."""
    code = ctypes.create_string_buffer(struct.pack("=BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0))
    license = ctypes.create_string_buffer(b"Apache-2.0")
    head = struct.pack("=IIQQ", 6, 2, ctypes.addressof(code), ctypes.addressof(license))
    attr = ctypes.create_string_buffer(head + bytes(128 - len(head)))
    return libc.syscall(280 if platform.machine() == "aarch64" else 321, 5, attr, 128, what="bpf")  # BPF_PROG_LOAD
