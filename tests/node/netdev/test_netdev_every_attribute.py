"""Whatever can be seen of a device and set in a pod is as it was after the return: each kind, each attribute."""

import shutil
import time

import pytest

from crishim.netdev.records import PodRef, State
from tests.node.netdev.lab import Lab
from tests.node.netdev.tinkering import Different, differing, picture, tinker

pytestmark = pytest.mark.node
KINDS = {
    "veth": "link add demo0 type veth peer name demo0-peer",
    "ifb": "link add demo0 type ifb",
    "tap": "tuntap add demo0 mode tap",
    "macvlan": "link add demo0 link other0 type macvlan mode private",
    "vxlan": "link add demo0 type vxlan id 7 dstport 4789 remote 192.0.2.99",
}
# How many things at least a pod must have been able to change, lest the test look at nothing.
LEAST = {"veth": 200, "ifb": 190, "tap": 180, "macvlan": 170, "vxlan": 190}
# What the kernel does not take back: a veth has NAPI, and with it this setting, only while GRO is on.
REFUSED = {"veth": {"file.threaded"}}


def make(lab: Lab, kind: str) -> None:
    lab.ip("link add other0 type ifb")
    lab.ip("link set other0 up")
    lab.ip(KINDS[kind])
    if kind == "veth":
        lab.ip("link set demo0-peer up")
    lab.ip("link set demo0 up")
    lab.ip("addr add 192.0.2.7/24 dev demo0")
    lab.ip("addr add 2001:db8::7/64 dev demo0 nodad")


@pytest.mark.parametrize("kind", KINDS)
async def test_every_attribute_is_as_it_was(builtin_lab: Lab, kind: str) -> None:
    """What differs afterwards is in a warning that names it; and nothing has to be."""
    assert shutil.which("ethtool"), "ethtool is not installed: hack/setup test"
    lab = builtin_lab
    make(lab, kind)
    before = picture("demo0", lab.host)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    given = picture("net1", pod.netns)
    tinker(pod.netns, "net1")
    spoilt = picture("net1", pod.netns)
    changed = differing(given, spoilt)
    different, warnings = await returned(lab, pod, before)
    unnamed = {k for k in different if not any(k.rpartition(".")[2] in w for w in warnings)}
    assert unnamed == set(), (warnings, different)
    assert {k for k in different if k not in REFUSED.get(kind, ())} == set(), warnings
    assert len(changed) >= LEAST[kind], sorted(changed)


async def returned(lab: Lab, pod: PodRef, before: dict[str, str]) -> tuple[Different, tuple[str, ...]]:
    """What differs from before once the device is back, and what is said about it."""
    (ended,) = await lab.devices.return_devices(pod)
    assert ended.state is State.DONE
    deadline = time.monotonic() + 10
    while (different := differing(before, picture("demo0", lab.host))) and time.monotonic() < deadline:
        pass  # the link-local address, and its groups, come in their own time
    return different, ended.warnings


@pytest.mark.parametrize("kind", KINDS)
async def test_every_setting_of_the_host_comes_back(builtin_lab: Lab, kind: str) -> None:
    """The host has another value for everything that takes one: it is all there again, though the pod had the device
    with every value changed once more."""
    lab = builtin_lab
    make(lab, kind)
    fresh = picture("demo0", lab.host)
    tinker(lab.host, "demo0")
    lab.ip("link set demo0 up")
    before = picture("demo0", lab.host)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    tinker(pod.netns, "net1")
    different, warnings = await returned(lab, pod, before)
    assert different == {}, warnings
    assert warnings == ()
    assert len(differing(fresh, before)) >= LEAST[kind] - 20
