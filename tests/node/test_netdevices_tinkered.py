"""A pod of a running daemon changes everything of its device and leaves programs on it: the host has what it had."""

from collections.abc import Iterator

import pytest

from crishim.linux import bpf, netns_thread
from crishim.linux.netlink import links
from crishim.netdev import bpf_programs
from tests.node.netdev import bpf_samples
from tests.node.netdev.tinkering import differing, picture, tinker
from tests.support.daemon import Daemon
from tests.support.isolation import ip, remove_link
from tests.support.pods import annotated, container_config, pod_config, remove_pod, run_pod, start

pytestmark = pytest.mark.node
HOST = "/proc/thread-self/ns/net"
# Groups of the link-local address; those of all routers, which the kernel joins otherwise for a device that is there
# when forwarding is switched on (as here, by CNI's bridge plugin) than for one that comes later.
IN_THEIR_OWN_TIME = ("33:33:ff", "ff02::1:ff", "33:33:00:00:00:02", "ff01::2", "ff02::2", "ff05::2")


@pytest.fixture
def device() -> Iterator[str]:
    ip("link", "add", "tink0", "type", "veth", "peer", "name", "tink0p")
    ip("link", "set", "tink0p", "up")
    ip("link", "set", "tink0", "up")
    ip("addr", "add", "192.0.2.77/24", "dev", "tink0")
    ip("addr", "add", "2001:db8:77::1/64", "dev", "tink0", "nodad")
    ip("neigh", "add", "192.0.2.78", "lladdr", "02:00:00:00:00:78", "dev", "tink0", "nud", "permanent")
    yield "tink0"
    remove_link("tink0")


def found(netns: str, name: str) -> list[tuple[str, int]]:
    def read(end: netns_thread.Netns) -> list[tuple[str, int]]:
        link = links.get(end.netlink, name)
        assert link is not None
        return [(p.hook, p.id) for p in bpf_programs.read(link)]

    return netns_thread.in_namespaces_thread((netns,), read)


@pytest.mark.parametrize("handler", ["runc", "crun"])
def test_a_pod_that_changes_everything(daemon: Daemon, device: str, handler: str) -> None:
    """Stop ends, all is as it was but for what the daemon's warning names; the pod's links are still open meanwhile."""
    pod = run_pod(daemon, pod_config(annotations=annotated(**{device: "net1"})), handler)
    before = picture(device, HOST)  # CNI's bridge plugin has switched the host's forwarding on
    start(daemon, pod, container_config())
    netns = f"{daemon.run}/pods/{pod}/ns/net"
    tinker(netns, "net1")
    held: list[int] = []

    def attach(end: netns_thread.Netns) -> None:
        link = links.get(end.netlink, "net1")
        assert link is not None
        for hook in ("tcx ingress", "tcx egress"):
            held.append(bpf_samples.load(bpf_samples.SCHED_CLS, 2))
            held.append(bpf_samples.link(held[-1], link.index, bpf.HOOKS[hook]))

    netns_thread.in_namespaces_thread((netns,), attach)
    try:
        assert len(found(netns, "net1")) == 2
        remove_pod(daemon, pod)
        assert found(HOST, device) == []
        after = differing(before, picture(device, HOST))
        said = " ".join(str(record.get("message", record)) for record in daemon.logged())
        different = {k for k in after if not any(group in k for group in IN_THEIR_OWN_TIME)}
        assert {k for k in different if k.rpartition(".")[2] not in said} == set(), after
        assert different <= {"file.threaded"}, after
    finally:
        bpf_samples.close(*held)
