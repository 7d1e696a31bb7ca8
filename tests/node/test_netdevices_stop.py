"""StopPodSandbox ends whatever became of the pod's devices, and the pod's address is free."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from crishim.netdev.return_device import REFUSALS
from tests.support.daemon import Daemon
from tests.support.isolation import ip, remove_link
from tests.support.pods import annotated, pod_config, remove_pod, run_pod, start

pytestmark = pytest.mark.node


@pytest.fixture
def macvlan() -> Iterator[str]:
    """mv0 on a parent of its own, UP."""
    ip("link", "add", "par0", "type", "veth", "peer", "name", "par0p")
    ip("link", "set", "par0p", "up")
    ip("link", "set", "par0", "up")
    ip("link", "add", "mv0", "link", "par0", "type", "macvlan", "mode", "bridge")
    ip("link", "set", "mv0", "up")
    yield "mv0"
    remove_link("par0")


def info(daemon: Daemon, pod: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(daemon.call("PodSandboxStatus", pod_sandbox_id=pod, verbose=True).info["info"])
    return found


def leases(daemon: Daemon) -> set[str]:
    """The pod network's addresses that are given out."""
    return {p.name for p in (daemon.directory / "ipam/test").glob("*[.:]*") if p.name[0] in "1f"}


def test_a_device_that_cannot_be_brought_up(daemon: Daemon, macvlan: str) -> None:
    """Its MAC is another's by now: the stop succeeds, the status says "returned, down" and why; so does the log."""
    mac = json.loads(ip("-j", "link", "show", macvlan))[0]["address"]
    free = leases(daemon)
    pod = run_pod(daemon, pod_config(annotations=annotated(**{macvlan: "net1"})), "runc")
    start(daemon, pod)
    ip("link", "set", "net1", "down", netns=info(daemon, pod)["namespaces"]["net"])  # frees its MAC on the parent
    ip("link", "add", "mv1", "link", "par0", "address", mac, "type", "macvlan", "mode", "bridge")
    ip("link", "set", "mv1", "up")
    assert leases(daemon) != free
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    assert leases(daemon) == free
    (found,) = info(daemon, pod)["netDevices"]
    assert (found["state"], found["reason"]) == ("down", "Address already in use")
    assert "returned, down: Address already in use" in daemon.command("netdev", "list").stdout
    assert any("mv0 is back but cannot be brought up" in line["message"] for line in daemon.logged())
    daemon.call("RemovePodSandbox", pod_sandbox_id=pod)
    assert "mv0" not in daemon.command("netdev", "list").stdout
    assert "UP" not in json.loads(ip("-j", "link", "show", macvlan))[0]["flags"]


def test_a_device_that_cannot_be_moved_back(daemon: Daemon, macvlan: str) -> None:
    """No name is free for it: the pod's address is free after the first stop, a few stops later so is the pod."""
    free = leases(daemon)
    pod = run_pod(daemon, pod_config(annotations=annotated(**{macvlan: "net1"})), "runc")
    start(daemon, pod)
    (link,) = json.loads(ip("-j", "link", "show", "net1", netns=info(daemon, pod)["namespaces"]["net"]))
    id = next(a for a in link["altnames"] if a.startswith("crishim-")).removeprefix("crishim-")
    squatters = dict.fromkeys(["mv0", *(f"mv0-{id[n : n + 4]}" for n in range(13))])
    for name in squatters:
        ip("link", "add", name, "type", "ifb")
    try:
        for _ in range(REFUSALS - 1):
            with pytest.raises(grpc.RpcError) as caught:
                daemon.call("StopPodSandbox", pod_sandbox_id=pod)
            assert "mv0 of pod test/" in caught.value.details()
            assert leases(daemon) == free
        daemon.call("StopPodSandbox", pod_sandbox_id=pod)
        (found,) = info(daemon, pod)["netDevices"]
        assert found["state"] == "lost"
        assert "refuses to move it back" in found["reason"]
        remove_pod(daemon, pod)
    finally:
        for name in squatters:
            remove_link(name)
