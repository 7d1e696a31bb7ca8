"""Pods the runtime must refuse: each ends in an event that names what is wrong, and the node stays what it was."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kubelet.shapes import pod, shell
from tests.support.daemon import eventually
from tests.support.isolation import ip, remove_link
from tests.support.kubelet.node import Node, restarts
from tests.support.kubelet.process import NAME

pytestmark = pytest.mark.node


@pytest.fixture
def device() -> Iterator[str]:
    """A host link with an alternative name."""
    remove_link("dev0")
    for arguments in ("link add dev0 type veth peer name dev0p", "link property add dev dev0 altname other0"):
        ip(*arguments.split())
    yield "dev0"
    remove_link("dev0")


def sysctl(name: str, value: str) -> dict[str, Any]:
    return pod(securityContext={"sysctls": [{"name": name, "value": value}]})


def label(**options: str) -> dict[str, Any]:
    return pod(shell(securityContext={"seLinuxOptions": options}))


def mounted(**source: str) -> dict[str, Any]:
    return pod(shell(volumeMounts=[{"name": "v", "mountPath": "/v"}]), volumes=[{"name": "v", "hostPath": source}])


def told(node: Node, name: str, *words: str) -> None:
    """Wait for a warning about a pod that has all these words, and for the runtime's refusal, not the kubelet's own.

    The node is ready all the same: kubelet and runtime say so, and another pod starts.
    """

    def look() -> list[str]:
        lines = node.kubelet.logged("Event occurred", f"{name}-{NAME}", 'type="Warning"')
        return [x for x in lines if re.search(r'reason="Failed(CreatePodSandBox)?"', x) and all(w in x for w in words)]

    eventually(look, f"an event names {words}", 60)
    assert node.kubelet.healthy()
    assert all(condition.status for condition in node.daemon.call("Status").status.conditions)
    node.run(f"after-{name}", pod())


@pytest.mark.parametrize(
    ("name", "spec", "words"),
    [
        ("path", mounted(path="/proc/nowhere/at/all"), ["/proc/nowhere/at/all"]),
        ("sysctl-unknown", sysctl("kernel.msgnonsense", "1"), ["kernel.msgnonsense"]),
        ("sysctl-value", sysctl("net.core.somaxconn", "many"), ["net.core.somaxconn", "many"]),
        ("label-level", label(level="nonsense"), ["nonsense"]),
        ("label-type", label(user="system_u", role="a:b", type="t", level="s0"), ["a:b"]),
        ("command", pod({**shell(), "command": ["/no/such/program"]}), ["/no/such/program"]),
        ("directory", pod(shell(workingDir="/etc/passwd")), ["/etc/passwd"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_refusal_names_the_thing(node: Node, name: str, spec: dict[str, Any], words: list[str]) -> None:
    """A host path that cannot be made, a bad sysctl, SELinux label or program: the event has the name of it."""
    node.put(f"refused-{name}", spec)
    told(node, f"refused-{name}", *words)


@pytest.mark.parametrize(
    ("name", "asked", "words"),
    [
        ("names", '{"dev0": {"name": "net1"}, "other0": {"name": "net2"}}', ["dev0", "net1", "net2"]),
        ("twice", '{"dev0": {"name": "net1"}, "dev0": {"name": "net1"}}', ["dev0", "twice"]),
        ("lo", '{"dev0": {"name": "net1"}, "lo": {}}', ["lo", "loopback"]),
        ("none", '{"nosuch0": {"name": "net1"}}', ["nosuch0"]),
    ],
    ids=["by its two names", "the same twice", "one that cannot move", "one that is not there"],
)
def test_a_device_claimed_wrongly(device: str, node: Node, name: str, asked: str, words: list[str]) -> None:
    """A device under two names, named twice, immovable or not there: refused by its name, and the host's links stay."""
    node.put(f"claims-{name}", pod(), annotations={"netdevices.crishim.io/pod": asked})
    told(node, f"claims-{name}", *words)
    assert f" {device}@" in ip("-o", "link")


def test_a_device_claimed_by_two_pods(device: str, node: Node) -> None:
    """The second pod's event names the device and the pod that holds it; the holder is not disturbed."""
    asked = {"netdevices.crishim.io/pod": '{"dev0": {"name": "net1"}}'}
    node.run("first", pod(), annotations=asked)
    node.put("second", pod(), annotations=asked)
    told(node, "second", device, f"default/first-{NAME}")
    assert restarts(node.ready("first")) == 0
    assert "net1" in node.execute("first", "main", "ls", "/sys/class/net")
