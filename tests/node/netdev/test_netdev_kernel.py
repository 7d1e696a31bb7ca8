"""What this code assumes of the kernel, checked against the kernel; and the driver at scale."""

import asyncio
from pathlib import Path

import pytest

from crishim.errors import CrishimError
from crishim.linux import devconf, netns_thread
from crishim.linux.netlink import links
from crishim.netdev.names import check_name
from crishim.netdev.records import PodRef, Source, State
from tests.node.netdev.lab import Lab, request

pytestmark = pytest.mark.node


async def test_setting_names_are_the_kernels(builtin_lab: Lab) -> None:
    """Each net.ipv6.conf value in a link message is what the file of its name says."""
    builtin_lab.demo()

    def read(host: netns_thread.Netns) -> tuple[devconf.Devconf, dict[str, int]]:
        link = links.get(host.netlink, "demo0")
        assert link is not None
        files = {}
        for name in filter(None, devconf.IPV6_NAMES):
            path = Path(f"/proc/sys/net/ipv6/conf/demo0/{name}")
            if path.exists():
                files[name] = int(path.read_text())
        return devconf.parse(link.settings), files

    settings, files = netns_thread.in_namespaces_thread((builtin_lab.host,), read)
    assert len(files) > 30
    assert {name: devconf.ipv6_value(settings, name) for name in files} == files


@pytest.mark.parametrize(
    "name", ["a", "x" * 15, "é" * 7, "a.b", "-", "...", "x" * 16, "é" * 8, "a/b", "a:b", "a b", ".", ".."]
)
async def test_legal_names_are_what_the_kernel_takes(builtin_lab: Lab, name: str) -> None:
    """A name we pass is one the kernel takes, and one we refuse is one it refuses."""
    builtin_lab.ip("link add plain type ifb")

    def rename(host: netns_thread.Netns) -> bool:
        link = links.get(host.netlink, "plain")
        assert link is not None
        try:
            links.change(host.netlink, link.index, name=name)
        except OSError:
            return False
        return True

    try:
        check_name(name, "plain")
        legal = True
    except CrishimError:
        legal = False
    assert netns_thread.in_namespaces_thread((builtin_lab.host,), rename) is legal


async def test_a_device_is_looked_at_in_its_pod(builtin_lab: Lab) -> None:
    """observe() tells what is, not what was journalled; None once the device is gone."""
    lab = builtin_lab
    lab.demo()
    pod = lab.pod()
    attached = await lab.devices.attach(pod, request("demo0", "net1", Source.COMMAND))
    lab.ip("link set net1 mtu 1390", pod.netns)
    lab.ip("addr add 203.0.113.7/32 dev net1", pod.netns)
    seen = await lab.devices.observe(attached)
    assert seen is not None
    assert (seen.name, seen.index, seen.mtu, seen.is_up, seen.has_carrier) == ("net1", attached.index, 1390, True, True)
    assert {*attached.addresses, "203.0.113.7/32"} <= set(seen.addresses)
    await lab.devices.return_devices(pod)
    assert await lab.devices.observe(attached) is None


async def test_counters_count(builtin_lab: Lab) -> None:
    """Attaches, returns and failures are in the metrics."""
    lab = builtin_lab
    lab.demo()
    pod = lab.pod()
    with pytest.raises(CrishimError):
        await lab.attach(pod, ("none0", "net1"))
    await lab.attach(pod, ("demo0", "net1"), run=False)
    await lab.devices.return_devices(pod)
    assert lab.devices.metrics.durations.seen()["attach",].buckets[-1] == 1
    assert lab.devices.metrics.durations.seen()["return",].buckets[-1] == 1
    assert lab.devices.metrics.failures() == {("attach", "not found"): 1}


async def test_two_hundred_devices_over_fifty_pods(builtin_lab: Lab) -> None:
    """All are attached, four to a pod, all pods at once, and all come back; nothing is lost, nothing is left."""
    lab = builtin_lab
    count, share = 200, 4
    batch = []
    for i in range(count):
        batch += [f"link add d{i} type ifb", f"addr add 10.{i // 250}.{i % 250}.1/24 dev d{i}", f"link set d{i} up"]
    lab.batch(batch)
    before = lab.json("addr show")
    pods = [lab.pod(f"p{i}", cni=False) for i in range(count // share)]

    async def attach(number: int, pod: PodRef) -> int:
        merged_requests = [request(f"d{number * share + i}", f"net{i + 1}") for i in range(share)]
        async with await lab.devices.plan(merged_requests, pod, lab.kit.mover) as plan:
            await plan.begin()
            return len([a for a in await plan.verify_and_repair() if a.state is State.READY])

    attached = await asyncio.gather(*(attach(i, pod) for i, pod in enumerate(pods)))
    assert sum(attached) == count
    assert lab.names() == {"lo"}
    returned = await asyncio.gather(*(lab.devices.return_devices(pod) for pod in pods))
    assert [a.state for r in returned for a in r] == [State.DONE] * count

    def told(links: list[dict[str, object]]) -> list[dict[str, object]]:
        return sorted(({k: x[k] for k in ("ifindex", "ifname", "address", "mtu", "addr_info")} for x in links), key=str)

    def without_link_local(links: list[dict[str, object]]) -> list[dict[str, object]]:
        for x in links:
            x["addr_info"] = [a for a in x["addr_info"] if a.get("family") == "inet"]  # type: ignore[attr-defined]
        return links

    assert without_link_local(told(lab.json("addr show"))) == without_link_local(told(before))
    assert list(lab.journal.iterdir()) == []
