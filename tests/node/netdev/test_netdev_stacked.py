"""A device that something stands on is not given: links on top of it, its other end, tunnels, ports."""

import subprocess
from collections.abc import Iterator

import pytest

from crishim.errors import CrishimError
from crishim.linux import net_namespaces
from tests.node.netdev.lab import ANYTHING, Lab
from tests.node.netdev.test_netdev_link_checks import ADDRESS, ADDRESS6, GATEWAY, given, refusal

pytestmark = pytest.mark.node


@pytest.fixture
def process_netns() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a network namespace that no mount keeps."""
    command = ["unshare", "--net", "sh", "-c", "echo ready; exec sleep 600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


ON_TOP = {
    "macvlan": "link add top0 link demo0 type macvlan",
    "macvtap": "link add link demo0 name top0 type macvtap",
    "vxlan": "link add top0 type vxlan id 5 dev demo0 dstport 4789",
    "vxlan by address": f"link add top0 type vxlan id 5 local {ADDRESS} dstport 4789",
    "vxlan by IPv6 address": f"link add top0 type vxlan id 5 local {ADDRESS6} dstport 4790",
}


@pytest.mark.parametrize("words", ON_TOP.values(), ids=ON_TOP)
async def test_what_something_stands_on_stays(builtin_lab: Lab, words: str) -> None:
    """The kernel deletes a vxlan whose device moves, and leaves others without one."""
    lab = builtin_lab
    lab.demo()
    lab.ip(words)
    assert "top0 depends on it" in await refusal(lab, "demo0")
    assert lab.link("top0")


@pytest.mark.parametrize("words", ON_TOP.values(), ids=ON_TOP)
async def test_also_when_it_is_in_another_namespace(builtin_lab: Lab, words: str) -> None:
    """Moved there: neither the host's links nor its sysfs tell of it."""
    lab = builtin_lab
    lab.demo()
    blue = lab.namespace("blue")
    lab.ip(words)
    lab.ip("link set top0 netns blue-handle".replace("blue-handle", str(blue)))
    text = await refusal(lab, "demo0")
    assert f"top0 in the network namespace of {blue} depends on it" in text
    assert lab.link("top0", blue)


async def test_also_when_it_was_made_there(builtin_lab: Lab, process_netns: subprocess.Popen[bytes]) -> None:
    """As CNI plugins make them; in a namespace that only a process keeps. Its ifindex there is nobody's here."""
    lab = builtin_lab
    lab.demo()
    lab.ip(f"link add link demo0 name top0 netns {process_netns.pid} type macvlan")
    text = await refusal(lab, "demo0")
    assert f"top0 in the network namespace of process {process_netns.pid} depends on it" in text


async def test_a_pod_with_many_links_costs_little(builtin_lab: Lab) -> None:
    """Of each namespace a bounded part is read, the oldest links first: what a CNI plugin made there is among them."""
    lab = builtin_lab
    lab.demo()
    crowd = lab.namespace("crowd")
    lab.ip(f"link add link demo0 name top0 netns {crowd} type macvlan")
    lab.batch([f"link add x{i} netns {crowd} type ifb" for i in range(300)])
    place = net_namespaces.NetnsPath(crowd.stat().st_ino, str(crowd))
    read = lab.inside(lab.host, lambda: net_namespaces.links_of(place, bytearray(1 << 18)))
    assert 10 < len(read) < 250
    assert f"top0 in the network namespace of {crowd} depends on it" in await refusal(lab, "demo0")


async def test_a_namesake_elsewhere_holds_nothing(builtin_lab: Lab) -> None:
    """A macvlan of another namespace whose lower device has the same ifindex, there."""
    lab = builtin_lab
    before = lab.demo()
    blue, green = lab.namespace("blue"), lab.namespace("green")
    lab.ip(f"link add twin0 index {before['ifindex']} type veth peer name twin1", blue)
    lab.ip("link add top0 link twin0 type macvlan", blue)
    lab.ip("link add top1 link twin0 type macvlan", blue)
    lab.ip(f"link set top1 netns {green}", blue)
    await given(lab, "demo0")


async def test_the_other_end_of_a_veth_stays(builtin_lab: Lab) -> None:
    """A CNI plugin's for a pod, of ours or not; and that of a device a pod has."""
    lab = builtin_lab
    lab.demo()
    cni = lab.namespace("not-ours")
    lab.ip(f"link add vethab12 type veth peer name eth0 netns {cni}")
    assert "its other end is in another network namespace" in await refusal(lab, "vethab12")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    before = lab.link("demo0-peer")
    with pytest.raises(CrishimError, match=r"demo0-peer cannot .* its other end, demo0, is in pod default/pod-a"):
        await lab.plan(lab.pod("pod-b"), ("demo0-peer", "net1"))
    assert lab.link("demo0-peer") == before
    await lab.devices.return_devices(pod)


def _vxlan(lab: Lab, options: str = "id 5 remote 203.0.113.9 dstport 4789") -> None:
    lab.ip(f"link add over0 type vxlan {options}")
    lab.ip("addr add 10.244.0.0/32 dev over0")
    lab.ip("link set over0 up")


async def test_a_tunnel_that_pods_are_behind_stays(builtin_lab: Lab) -> None:
    """flannel's way: a route over it for each other node. Without routes it is a device like others."""
    lab = builtin_lab
    lab.demo()
    _vxlan(lab)
    await given(lab, "over0")
    lab.ip("route add 10.244.1.0/24 via 10.244.1.0 dev over0 onlink")
    assert "it is a tunnel that is in use: route 10.244.1.0/24 in table main" in await refusal(lab, "over0")
    lab.ip("route del 10.244.1.0/24")
    lab.ip("-6 route add fd00:1::/64 dev over0 table 52")
    assert "route fd00:1::/64 in table 52" in await refusal(lab, "over0")


async def test_a_tunnel_that_programs_send_through_stays(builtin_lab: Lab) -> None:
    """Cilium's and Open vSwitch's way: it has no routes."""
    lab = builtin_lab
    lab.demo()
    _vxlan(lab, "external dstport 4799")
    assert "others' routes and programs" in await refusal(lab, "over0")


async def test_a_vpns_tun_stays(builtin_lab: Lab) -> None:
    """A tun with routes is a tunnel; a tap is a network card like others."""
    lab = builtin_lab
    lab.demo()
    for mode in ("tun", "tap"):
        lab.ip(f"tuntap add dev {mode}9 mode {mode}")
        lab.ip(f"addr add 10.8.{len(mode)}.{ord(mode[1])}/32 dev {mode}9")
        lab.ip(f"link set {mode}9 up")
        lab.ip(f"route add 10.9.{ord(mode[1])}.0/24 dev {mode}9")
    assert "it is a tunnel that is in use" in await refusal(lab, "tun9")
    await given(lab, "tap9")


async def test_what_the_pods_network_is_built_on_stays(builtin_lab: Lab) -> None:
    """The bridge, master or device of the CNI network in force; a plugin's own links by their name."""
    lab = builtin_lab
    lab.demo()
    lab.ip("link add cilium_host type veth peer name cilium_net")
    terms = ANYTHING._replace(network_links=lambda: {"demo0"})
    assert "the CNI network of the pods is built on it" in await refusal(lab, "demo0", terms)
    assert "Cilium" in await refusal(lab, "cilium_net")


async def test_the_list_tells_what_a_refusal_would(builtin_lab: Lab) -> None:
    """For each link of the host: the reason; with allow_node_device that annotations do not get it; who has it."""
    lab = builtin_lab
    lab.demo()
    lab.demo("demo1")
    lab.ip(f"route add default via {GATEWAY} dev demo0 table 100")
    lab.ip("link add top0 link demo1 type macvlan")
    lab.ip(f"link set top0 netns {lab.namespace('blue')}")
    lab.ip("link add other0 type ifb")
    pod = lab.pod()
    await lab.attach(pod, ("other0", "net1"), run=False)
    told = {x.name: x for x in await lab.devices.host_links()}
    assert set(told) == lab.names() | {"other0"}
    assert told["demo0"].reason in await refusal(lab, "demo0")
    assert told["demo1"].reason in await refusal(lab, "demo1")
    assert [told[n].grants for n in ("demo0", "demo1", "lo")] == [(), (), ()]
    assert [g.rule for g in told["demo0-peer"].grants] == ["netdevices.allow[0]"]
    held = told["other0"].holder
    assert held is not None
    assert held.pod == pod
    lenient = {x.name: x for x in await lab.driver(ANYTHING._replace(allow_node_device=True)).host_links()}
    assert (lenient["demo0"].reason, lenient["demo0"].root_only) == ("", told["demo0"].reason)
    await lab.devices.return_devices(pod)


async def test_ports_stay(builtin_lab: Lab) -> None:
    """Of a bridge (a bond's look the same), and the bridge itself."""
    lab = builtin_lab
    lab.demo()
    lab.ip("link add br0 type bridge")
    lab.ip("link set demo0 master br0")
    assert "it belongs to br0" in await refusal(lab, "demo0")
    assert "its kind cannot leave its namespace" in await refusal(lab, "br0")
