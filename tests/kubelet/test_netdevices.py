"""A pod that asks for a host device by its annotation, under a kubelet that restarts its containers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kubelet.shapes import SLEEP, pod, shell
from tests.support.daemon import eventually
from tests.support.isolation import ip, remove_link
from tests.support.kubelet.node import Node, container_status, restarts

pytestmark = pytest.mark.node


@pytest.fixture
def device() -> Iterator[str]:
    """A host link with an address, UP."""
    remove_link("dev0")
    for arguments in (
        "link add dev0 mtu 1400 type veth peer name dev0p",
        "addr add 192.0.2.7/24 dev dev0",
        "addr add 2001:db8::7/64 dev dev0 nodad",
        "link set dev0p up",
        "link set dev0 up",
    ):
        ip(*arguments.split())
    yield "dev0"
    remove_link("dev0")


def annotated(device: str, name: str) -> dict[str, dict[str, str]]:
    return {"annotations": {"netdevices.crishim.io/pod": json.dumps({device: {"name": name}})}}


def described(name: str) -> tuple[str, set[str]]:
    """MAC, and addresses, of a link of the host."""
    link = json.loads(ip("-j", "addr", "show", name))[0]
    return link["address"], {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"}


def returned(name: str, before: tuple[str, set[str]]) -> None:
    """Wait until a device is back on the host as it was: it comes back after its pod counts as ended."""

    def back() -> bool:
        return f" {name}@" in ip("-o", "link") and described(name) == before

    eventually(back, f"{name} is back as it was", 20)


def test_a_device_stays_through_restarts_and_returns(node: Node, device: str) -> None:
    """Init container, sidecar and main see net1 from their first instruction; restarts keep it; the end returns it."""
    before = described(device)
    look = "ip -o addr show net1 >/v/{0} || exit 9"
    volume: dict[str, Any] = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    first = shell(look.format("init"), "init", **volume)
    side = shell(f"{look.format('side')}; {SLEEP}", "side", restartPolicy="Always", **volume)
    main = shell(f"{look.format('main')}; sleep 2; exit 1", **volume)
    spec = pod(main, initContainers=[first, side], volumes=[{"name": "v", "emptyDir": {}}])
    node.run("device", spec, **annotated(device, "net1"))
    assert "dev0:" not in ip("-o", "link")
    index = node.execute("device", "side", "cat", "/sys/class/net/net1/ifindex")
    found = node.wait("device", lambda p: restarts(p) >= 2, "main was restarted twice")
    assert container_status(found, "main")["lastState"]["terminated"]["exitCode"] == 1
    assert node.execute("device", "side", "cat", "/sys/class/net/net1/ifindex") == index
    seen = {name: node.execute("device", "side", "cat", f"/v/{name}") for name in ("init", "side", "main")}
    assert all("192.0.2.7/24" in text and "2001:db8::7/64" in text for text in seen.values()), seen
    assert all(address.startswith(("10.231.", "fd31::")) for address in _addresses(found))
    node.remove("device")
    returned(device, before)
    assert "UP" in json.loads(ip("-j", "link", "show", device))[0]["flags"]


def _addresses(pod: dict[str, object]) -> list[str]:
    status = pod["status"]
    assert isinstance(status, dict)
    return [entry["ip"] for entry in status["podIPs"]]


def test_the_second_pod_waits_for_the_device(node: Node, device: str) -> None:
    """Two pods want one device: the second one's event names the first as holder, and it gets it afterwards."""
    before = described(device)
    node.run("holder", pod(), **annotated(device, "net1"))
    node.put("waiter", pod(), **annotated(device, "net7"))
    eventually(lambda: node.kubelet.logged("Event occurred", "waiter-node", "dev0"), "the refusal is reported", 30)
    node.remove("holder")
    node.ready("waiter", 90)
    assert "192.0.2.7" in node.execute("waiter", "main", "ip", "addr", "show", "net7")
    node.remove("waiter")
    returned(device, before)


def test_a_device_survives_the_daemon(node: Node, device: str) -> None:
    """Daemon and kubelet killed and restarted: the pod keeps net1, and its removal still returns it."""
    before = described(device)
    node.run("kept", pod(), **annotated(device, "net1"))
    node.daemon.kill()
    node.kubelet.kill()
    node.daemon.start()
    node.kubelet.start()
    assert restarts(node.ready("kept")) == 0
    assert "192.0.2.7" in node.execute("kept", "main", "ip", "addr", "show", "net1")
    node.remove("kept")
    returned(device, before)
