"""A pod with NET_ADMIN and no user namespace reaches other network namespaces by the numbers it has for them (netnsid):
rtnetlink(7) takes them in IFLA_LINK_NETNSID and IFLA_TARGET_NETNSID. What the daemon reads of its device stays true.
"""

import json
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from crishim.linux import net_namespaces, netns_thread
from crishim.linux.net_namespaces import NETNSA_FD, NETNSA_NSID
from crishim.linux.netlink import links
from crishim.linux.netlink.rtnetlink import attribute, text, u32
from crishim.linux.netns_thread import Netns
from tests.node.refusals import refused
from tests.support.daemon import Daemon, eventually
from tests.support.isolation import ip, remove_link
from tests.support.pods import annotated, container_config, create, pod_config, remove_pod, run_pod, start

pytestmark = pytest.mark.node
CREATE, EXCLUSIVE = 0x400, 0x200  # NLM_F_CREATE, NLM_F_EXCL
RTM_NEWNSID, IFLA_TARGET_NETNSID = 88, 46
HOST = "/proc/thread-self/ns/net"


@pytest.fixture
def device() -> Iterator[str]:
    ip("link", "add", "num0", "type", "veth", "peer", "name", "num0p")
    ip("addr", "add", "192.0.2.60/24", "dev", "num0")
    ip("link", "set", "num0p", "up")
    ip("link", "set", "num0", "up")
    yield "num0"
    remove_link("num0p")
    remove_link("num0")


def shown(name: str, netns: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ip("-j", "-d", "addr", "show", "dev", name, netns=netns))[0]
    return found


def netns_of(daemon: Daemon, pod: str) -> str:
    return f"{daemon.run}/pods/{pod}/ns/net"


def in_pod(netns: str, attack: Callable[[Netns, int], None]) -> None:
    """attack(the pod's end, the number the pod has for the host)."""

    def run(host: Netns, pod: Netns) -> None:
        pod.enter()
        attack(pod, net_namespaces.number(pod.netlink, host.fd))

    netns_thread.in_namespaces_thread((HOST, netns), run)


def new_link(index: int, name: str, kind: str, *more: bytes) -> bytes:
    info = attribute(links.IFLA_LINKINFO, text(links.IFLA_INFO_KIND, kind))
    return struct.pack("=BxHiII", 0, 0, index, 0, 0) + text(links.IFLA_IFNAME, name) + info + b"".join(more)


def test_an_impostor_made_on_the_host(daemon: Daemon, device: str) -> None:
    """With the device's name, ifindex, kind and MAC, made from inside of the pod. The device comes home beside it."""
    before = shown(device)
    pod = run_pod(daemon, pod_config(annotations=annotated(**{device: "net1"})))
    start(daemon, pod)

    def attack(end: Netns, host: int) -> None:
        mac = attribute(links.IFLA_ADDRESS, bytes.fromhex(before["address"].replace(":", "")))
        target = u32(IFLA_TARGET_NETNSID, host)
        body = new_link(before["ifindex"], device, "veth", mac, target)
        end.netlink.request(links.RTM_NEWLINK, body, CREATE | EXCLUSIVE)

    in_pod(netns_of(daemon, pod), attack)
    assert shown(device)["ifindex"] == before["ifindex"]
    try:
        remove_pod(daemon, pod)
        home = shown(shown("num0p")["link"])
        # By number: when the impostor ends, which it does after its pod, the device gets its name again.
        having = [link["ifindex"] for link in json.loads(ip("-j", "addr", "show", "to", "192.0.2.60")) if link]
        assert having == [home["ifindex"]], "the impostor, whose peer ends with the pod, got none of them"
        assert home["address"] == before["address"]
        assert "UP" in home["flags"]
        assert [a["local"] for a in home["addr_info"] if a["scope"] == "global"] == ["192.0.2.60"]
        said = [r for r in daemon.logged() if r["level"] == "warning" and device in json.dumps(r)]
        assert any(home["ifname"] in json.dumps(record) for record in said), "nothing says what it is called now"
    finally:
        remove_link(device)


def test_numbers_given_to_other_namespaces(daemon: Daemon, device: str) -> None:
    """The pod numbers a namespace of its own as it likes, hides the device there and makes another one like it."""
    before = shown(device)
    pod = run_pod(daemon, pod_config(annotations=annotated(**{device: "net1"})))
    start(daemon, pod)
    netns = netns_of(daemon, pod)
    with subprocess.Popen(["unshare", "--net", "sleep", "1000"]) as nested:
        try:
            own = f"/proc/{nested.pid}/ns/net"
            eventually(lambda: not same_file(own, HOST), "the nested namespace is made")

            def attack(pod_end: Netns, host: int) -> None:
                with open(own, "rb") as file:
                    for number in range(host + 1, host + 4):
                        body = bytes(4) + u32(NETNSA_NSID, number) + u32(NETNSA_FD, file.fileno())
                        try:
                            pod_end.netlink.request(RTM_NEWNSID, body)
                        except FileExistsError:
                            assert number > host + 1

            in_pod(netns, attack)
            index = str(shown("net1", netns)["ifindex"])
            ip("link", "set", "net1", "netns", str(nested.pid), netns=netns)
            peer = ["type", "veth", "peer", "name", "p", "netns", str(nested.pid)]
            ip("link", "add", "net1", "index", index, "address", before["address"], *peer, netns=netns)
            daemon.call("StopPodSandbox", pod_sandbox_id=pod)
            home = shown(device)
            assert (home["ifindex"], home["link"]) == (before["ifindex"], "num0p")
            assert [a["local"] for a in home["addr_info"] if a["scope"] == "global"] == ["192.0.2.60"]
        finally:
            nested.kill()
    remove_pod(daemon, pod)


def same_file(one: str, other: str) -> bool:

    return os.path.samefile(one, other)


def test_a_link_on_top_from_inside_a_pod(daemon: Daemon, device: str) -> None:
    """A macvlan in a pod on a device of the host: that is not given to another pod, and is when it is gone."""
    pod, other = run_pod(daemon), pod_config(annotations=annotated(**{device: "net1"}))
    asks = run_pod(daemon, other)
    index = shown(device)["ifindex"]

    def attack(end: Netns, host: int) -> None:
        link = u32(links.IFLA_LINK, index) + u32(links.IFLA_LINK_NETNSID, host)
        end.netlink.request(links.RTM_NEWLINK, new_link(0, "onhost", "macvlan", link), CREATE | EXCLUSIVE)

    in_pod(netns_of(daemon, pod), attack)
    code, said = refused(create, daemon, asks, container_config(), other)
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "onhost" in said
    remove_pod(daemon, pod)
    assert create(daemon, asks, container_config(), other)
    remove_pod(daemon, asks)
    assert shown(device)["ifindex"] == index


def test_a_link_on_top_of_something_else(daemon: Daemon, device: str) -> None:
    """Its lower device has the number of the host's device, but in the pod: that keeps nobody from the host's."""
    pod, other = run_pod(daemon), pod_config(annotations=annotated(**{device: "net1"}))
    netns, index = netns_of(daemon, pod), str(shown(device)["ifindex"])
    with subprocess.Popen(["unshare", "--net", "sleep", "1000"]) as nested:
        try:
            eventually(lambda: not same_file(f"/proc/{nested.pid}/ns/net", HOST), "the nested namespace is made")
            ip("link", "add", "low", "index", index, "type", "veth", "peer", "name", "lowp", netns=netns)
            ip("link", "add", "top", "link", "low", "type", "macvlan", netns=netns)
            ip("link", "set", "top", "netns", str(nested.pid), netns=netns)
            asks = run_pod(daemon, other)
            assert create(daemon, asks, container_config(), other)
            remove_pod(daemon, asks)
        finally:
            nested.kill()
    remove_pod(daemon, pod)
    assert str(shown(device)["ifindex"]) == index
