"""What of the host's network hung on the device: lifetimes, nexthops, rules, groups, neighbours; back or named."""

import socket
import struct
import time
from pathlib import Path

import msgspec
import pytest

from crishim.netdev.records import Captured, PodRef, State
from tests.node.netdev.furniture import furnish
from tests.node.netdev.lab import Lab

pytestmark = pytest.mark.node


async def away(lab: Lab, *names: str) -> tuple[PodRef, tuple[str, ...]]:
    """The devices to a pod and back; what was said."""
    pod = lab.pod()
    await lab.attach(pod, *((name, f"net{number}") for number, name in enumerate(names or ("demo0",))), run=False)
    ended = await lab.devices.return_devices(pod)
    assert {a.state for a in ended} == {State.DONE}
    return pod, tuple(w for a in ended for w in a.warnings)


def elapse(lab: Lab, seconds: int) -> None:
    """Let the journal say that the device was captured that much earlier."""
    for attachment in lab.devices.attachments():
        host = msgspec.structs.replace(attachment.host, taken=attachment.host.taken - seconds * 10**9)
        lab.devices._journal.advance(attachment, attachment.state, host=host)


async def test_lifetimes_went_on_while_it_was_away(builtin_lab: Lab) -> None:
    """Leases come back with what is left of them, what expired stays dead; permanent ones are as they were."""
    lab = builtin_lab
    lab.demo()
    for address, lifetimes in (
        ("192.0.2.50/24", "valid_lft 1000 preferred_lft 500"),
        ("192.0.2.51/24", "valid_lft 300 preferred_lft 100"),
        ("2001:db8:5::1/64", "valid_lft 1000 preferred_lft 300 nodad"),
        ("2001:db8:5::2/64", "valid_lft 300 preferred_lft 300 nodad"),
    ):
        lab.ip(f"addr add {address} dev demo0 {lifetimes}")
    lab.ip("-6 route add 2001:db8:cccc::/48 dev demo0 expires 1000")
    lab.ip("-6 route add 2001:db8:dddd::/48 dev demo0 expires 300")
    permanent = [a for a in lab.addresses("demo0") if not a.get("dynamic")]
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    elapse(lab, 400)
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.warnings == ()
    found = {a["local"]: a for a in lab.addresses("demo0")}
    assert [a for a in found.values() if not a.get("dynamic")] == permanent
    left = {ip: (a["valid_life_time"], a["preferred_life_time"]) for ip, a in found.items() if a.get("dynamic")}
    assert set(left) == {"192.0.2.50", "2001:db8:5::1"}
    assert 540 <= left["192.0.2.50"][0] <= 600
    assert 40 <= left["192.0.2.50"][1] <= 100
    assert 540 <= left["2001:db8:5::1"][0] <= 600
    assert left["2001:db8:5::1"][1] == 0
    (route,) = lab.json("-6 route show 2001:db8:cccc::/48")
    assert 540 <= route["expires"] <= 600
    assert lab.json("-6 route show 2001:db8:dddd::/48") == []


async def test_one_refused_setting_takes_no_other_with_it(builtin_lab: Lab) -> None:
    """addr_gen_mode stable_secret without the secret is EINVAL: rp_filter and the others are restored all the same."""
    lab = builtin_lab
    lab.demo()
    directory = Path("/proc/sys/net")

    def set_host() -> None:
        (directory / "ipv6/conf/demo0/stable_secret").write_text("2001:db8::1234:5678")
        for name, value in (("rp_filter", "2"), ("arp_ignore", "3"), ("arp_announce", "1")):
            (directory / f"ipv4/conf/demo0/{name}").write_text(value)

    lab.inside(lab.host, set_host)
    before = lab.settings("demo0")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    for attachment in lab.devices.attachments():  # a record of a daemon that did not know the secret
        host = msgspec.structs.replace(attachment.host, sysctls=())
        lab.devices._journal.advance(attachment, attachment.state, host=host)
    (returned,) = await lab.devices.return_devices(pod)
    after = lab.settings("demo0")
    assert {k for k in before if before[k] != after[k]} == {"ipv6.addr_gen_mode"}
    assert len(returned.warnings) >= 1
    assert all("addr" in w and "gen" in w for w in returned.warnings)


async def test_the_secret_and_the_token_come_back(builtin_lab: Lab) -> None:
    """stable_secret with its mode; the token also where router advertisements have been switched off since."""
    lab = builtin_lab
    lab.demo()
    lab.demo("demo1")
    lab.ip("token set ::17 dev demo1")

    def settle() -> None:
        Path("/proc/sys/net/ipv6/conf/demo0/stable_secret").write_text("2001:db8::1234:5678")
        Path("/proc/sys/net/ipv6/conf/demo1/accept_ra").write_text("0")

    def secret() -> str:
        return Path("/proc/sys/net/ipv6/conf/demo0/stable_secret").read_text()

    lab.inside(lab.host, settle)
    before = lab.inside(lab.host, secret), lab.settings("demo0"), lab.ip("token get dev demo1"), lab.settings("demo1")
    _, warnings = await away(lab, "demo0", "demo1")
    assert warnings == ()
    assert before == (
        lab.inside(lab.host, secret),
        lab.settings("demo0"),
        lab.ip("token get dev demo1"),
        lab.settings("demo1"),
    )


async def test_nexthop_objects_groups_and_their_routes(builtin_lab: Lab) -> None:
    """Single ones, a group over two devices that both were away, routes of both families by id."""
    lab = builtin_lab
    for name in ("demo0", "demo1", "demo2"):
        lab.demo(name)
    first, second, third = (f"192.0.{sum(n.encode()) % 200}.1" for n in ("demo0", "demo1", "demo2"))
    for words in (
        f"nexthop add id 10 via {first} dev demo0",
        f"nexthop add id 11 via {second} dev demo1",
        f"nexthop add id 12 via {third} dev demo2",
        "nexthop add id 13 dev demo0 protocol static",
        "nexthop add id 20 group 10,5/11,7/12",
        "nexthop add id 21 group 10/11",
        f"-6 nexthop add id 16 via 2001:db8:{sum(b'demo0') % 200}::1 dev demo0",
        "nexthop add id 17 blackhole",
        "route add 10.40.0.0/16 nhid 20",
        "route add 10.41.0.0/16 nhid 10 metric 9",
        "route add 10.42.0.0/16 nhid 21 table 77",
        "-6 route add 2001:db8:40::/48 nhid 16",
    ):
        lab.ip(words)

    def seen() -> tuple[list[str], list[str]]:
        shown = lab.ip("nexthop show").splitlines(), lab.ip("-4 route show table all").splitlines()
        routes = shown[1] + lab.ip("-6 route show table all").splitlines()
        return sorted(x.strip() for x in shown[0]), sorted(r.strip() for r in routes if "nhid" in r)

    before = seen()
    assert len(before[1]) == 4
    _, warnings = await away(lab, "demo0", "demo1")
    assert warnings == ()
    assert seen() == before


async def test_policy_rules_work_again(builtin_lab: Lab) -> None:
    """A rule by the device's name stays while it is away, detached, and is in force again with it."""
    lab = builtin_lab
    lab.demo()
    lab.ip("rule add iif demo0 lookup 100 pref 501")
    lab.ip("-6 rule add oif demo0 lookup 101 pref 502")
    before = lab.ip("rule show"), lab.ip("-6 rule show")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    assert "[detached]" in lab.ip("rule show")
    await lab.devices.return_devices(pod)
    assert (lab.ip("rule show"), lab.ip("-6 rule show")) == before
    assert "detached" not in before[0]


async def test_a_group_a_host_program_had_joined_is_named(builtin_lab: Lab) -> None:
    """Its membership went with the move and only its socket can join again; a filter a user set is restored."""
    lab = builtin_lab
    furnish(lab)
    lab.ip("link set demo0 multicast on")
    lab.ip("maddr add 01:00:5e:7f:00:09 dev demo0")
    joined = lab.inside(lab.host, lambda: join("239.1.2.3", "demo0"))
    try:
        _, warnings = await away(lab)
        assert warnings == (
            "multicast group 239.1.2.3 on demo0 was left with the move: "
            "the program that had joined it has to join again",
        )
        assert "01:00:5e:7f:00:09" in lab.ip("maddr show dev demo0")
    finally:
        joined.close()


def join(group: str, name: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    request = struct.pack("=4s4si", socket.inet_aton(group), bytes(4), socket.if_nametoindex(name))
    made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    return made


async def test_neighbours_a_user_made(builtin_lab: Lab) -> None:
    """Permanent, managed and proxied ones of both families, and a unicast filter; what a pod added is not there."""
    lab = builtin_lab
    lab.demo()
    for words in (
        "neigh add 192.0.2.66 lladdr 02:00:00:00:00:66 dev demo0 nud permanent",
        "-6 neigh add 2001:db8::66 lladdr 02:00:00:00:00:66 dev demo0 nud permanent router",
        "neigh add proxy 192.0.2.67 dev demo0",
        "-6 neigh add proxy 2001:db8::67 dev demo0",
    ):
        lab.ip(words)

    def seen() -> list[str]:
        lines = lab.ip("neigh show dev demo0 nud permanent") + lab.ip("neigh show proxy dev demo0")
        lines += lab.ip("-6 neigh show proxy dev demo0") + lab.ip("-6 neigh show dev demo0 nud permanent")
        return sorted(lines.splitlines())

    before = seen()
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    lab.ip("neigh add 192.0.2.68 lladdr 02:00:00:00:00:68 dev net1 nud permanent", pod.netns)
    (returned,) = await lab.devices.return_devices(pod)
    assert seen() == before
    assert returned.warnings == ()


async def test_a_record_of_an_older_daemon_is_returned(builtin_lab: Lab) -> None:
    """Without the newer fields: what it has is restored, what it does not know is left alone, a pod's program goes."""
    lab = builtin_lab
    before = furnish(lab)
    lab.tc("qdisc add dev demo0 root handle 3: pfifo limit 9")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    newer = ("complete", "taken", "attributes", "tunings", "files", "sysctls", "programs", "entries", "multicast",
             "groups", "queueing", "nexthops")  # fmt: skip
    for file in lab.journal.glob("*.json"):
        record = msgspec.json.decode(file.read_bytes())
        inner = record.get("record", record)
        inner["host"] = {k: v for k, v in inner["host"].items() if k not in newer} | {"xdp": False}
        inner["host"]["settings"] = inner["host"]["settings"][:3]
        file.write_bytes(msgspec.json.encode(record))
    lab.devices = lab.driver()
    await lab.devices.recover([pod])
    (attachment,) = lab.devices.attachments()
    assert attachment.host.complete is Captured(index=0, name="").complete
    (returned,) = await lab.devices.return_devices(pod)
    assert returned.warnings == ()
    assert lab.picture("demo0") == before


async def test_the_time_away_does_not_stop(builtin_lab: Lab) -> None:
    """The clock of the lifetimes is that of the kernel since boot, not of the daemon: it counts across restarts."""
    lab = builtin_lab
    lab.demo()
    pod = lab.pod()
    (attached,) = await lab.attach(pod, ("demo0", "net1"), run=False)
    assert 0 < time.clock_gettime_ns(time.CLOCK_BOOTTIME) - attached.host.taken < 60 * 10**9
    await lab.devices.return_devices(pod)
