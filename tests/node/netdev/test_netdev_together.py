"""Several devices at once: what is read once for all of them is what each of them shows by itself."""

import subprocess
from pathlib import Path

import msgspec
import pytest

from crishim.linux import netns_thread
from crishim.linux.netlink import links
from crishim.netdev.capture import capture
from crishim.netdev.records import Captured
from tests.node.netdev.furniture import furnish
from tests.node.netdev.lab import Lab

pytestmark = pytest.mark.node


def adorn(lab: Lab) -> None:
    """demo0 to demo2, each with something of every table, one route and one nexthop group over two of them."""
    furnish(lab)
    for name in ("demo1", "demo2"):
        lab.demo(name)
    one, two = sum(b"demo1") % 200, sum(b"demo2") % 200
    for words in (
        f"route add 10.9.0.0/16 nexthop via 192.0.{one}.1 dev demo1 nexthop via 192.0.{two}.1 dev demo2",
        f"-6 route add 2001:db8:9::/48 nexthop via 2001:db8:{one}::1 nexthop via 2001:db8:{two}::1",
        f"nexthop add id 1 via 192.0.{one}.1 dev demo1",
        f"nexthop add id 2 via 192.0.{two}.1 dev demo2",
        "nexthop add id 3 group 1/2",
        "route add 10.10.0.0/16 nhid 3",
        "route add 10.11.0.0/16 nhid 1",
        f"neigh add 192.0.{one}.9 lladdr 02:00:00:00:00:09 dev demo1",
        f"neigh add proxy 192.0.{two}.10 dev demo2",
        "maddress add 33:33:00:00:00:77 dev demo2",
    ):
        lab.ip(words)
    lab.tc("qdisc add dev demo1 root handle 1: tbf rate 5mbit burst 20000 limit 30000")
    lab.tc("qdisc add dev demo2 clsact")
    argv = ["nsenter", f"--net={lab.host}", "bridge", "fdb", "add", "02:00:00:00:00:0a", "dev", "demo2", "self"]
    subprocess.run(argv, check=True)


def read(lab: Lab) -> tuple[dict[int, Captured], dict[int, Captured]]:
    """What a capture of all devices finds, and what captures of one each find."""

    def body(end: netns_thread.Netns) -> tuple[dict[int, Captured], dict[int, Captured]]:
        found = [link for link in links.dump(end.netlink) if link.kind == "veth"]
        alone: dict[int, Captured] = {}
        for link in found:
            alone |= capture(end, [link])
        return capture(end, found), alone

    return netns_thread.in_namespaces_thread((lab.host,), body)


@pytest.mark.parametrize("hidden", [False, True], ids=["", "nexthops hide their links"])
def test_together_they_are_what_each_is_alone(builtin_lab: Lab, hidden: bool) -> None:
    """Addresses, routes, neighbours, forwarding entries, disciplines, nexthops: nothing missing, nothing another's."""
    lab = builtin_lab
    adorn(lab)
    if hidden:
        lab.inside(lab.host, lambda: Path("/proc/sys/net/ipv4/nexthop_compat_mode").write_text("0"))
    together, alone = read(lab)
    assert {i: msgspec.structs.replace(c, taken=0) for i, c in together.items()} == {
        i: msgspec.structs.replace(c, taken=0) for i, c in alone.items()
    }
    demo = {c.name: c for c in together.values()}
    assert all(demo[f"demo{i}"].addresses for i in range(3))
    assert len(demo["demo0"].routes) >= 6
    assert demo["demo1"].queueing
    assert demo["demo2"].queueing
    assert not demo["demo0"].queueing
    assert {len(demo[f"demo{i}"].nexthops) for i in (1, 2)} == {2}
    assert (len(demo["demo1"].entries), len(demo["demo2"].entries)) == (1, 2)
    assert demo["demo2"].multicast
