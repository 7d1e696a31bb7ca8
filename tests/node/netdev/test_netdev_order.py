"""The order of IPv4 addresses: the first of a subnet is its primary one, which is what packets are sent from."""

from pathlib import Path

import pytest

from crishim.netdev.records import State
from tests.node.netdev.lab import Lab

pytestmark = pytest.mark.node
ADDRESSES = ["192.0.2.30/24", "192.0.2.10/24", "192.0.2.20/24", "198.51.100.9/24", "198.51.100.1/24"]


def ordered(lab: Lab, name: str, netns: Path | str | None = None) -> list[tuple[str, bool]]:
    """Addresses as the kernel lists them, each with whether it is a secondary one."""
    infos = lab.json(f"-4 addr show dev {name}", netns)[0]["addr_info"]
    return [(f"{a['local']}/{a['prefixlen']}", bool(a.get("secondary"))) for a in infos]


def source(lab: Lab, netns: Path | str | None = None) -> str:
    return str(lab.json("route get 192.0.2.99", netns)[0]["prefsrc"])


async def test_primary_addresses_stay_primary(lab: Lab) -> None:
    """In the pod and back on the host: the same order, the same primary address of each subnet, the same source."""
    lab.ip("link add demo0 type veth peer name demo0-peer")
    lab.ip("link set demo0-peer up")
    lab.ip("link set demo0 up")
    for address in ADDRESSES:
        lab.ip(f"addr add {address} dev demo0")
    before = ordered(lab, "demo0")
    assert [a for a, secondary in before if not secondary] == [ADDRESSES[0], ADDRESSES[3]]
    assert source(lab) == "192.0.2.30"
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"))
    assert ordered(lab, "net1", pod.netns) == before
    assert source(lab, pod.netns) == "192.0.2.30"
    lab.ip("-4 addr flush dev net1", pod.netns)
    for address in reversed(ADDRESSES):  # the pod makes other ones primary
        lab.ip(f"addr add {address} dev net1", pod.netns)
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.state is State.DONE
    assert ordered(lab, "demo0") == before
    assert source(lab) == "192.0.2.30"
