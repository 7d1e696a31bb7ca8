"""Everything that tools and files show of a link, and another value for each of it that the kernel takes.

Nothing here knows what the code under test captures: attributes are tried by number, files by looking for them,
features by what ethtool(8) lists. So what is missing over there shows.
"""

import contextlib
import json
import os
import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crishim.linux import namespaces, netns_thread, sysfs
from crishim.linux.netlink import links
from crishim.linux.netlink.rtnetlink import attribute, attributes, nested, text
from crishim.linux.netns_thread import Netns

Picture = dict[str, str]
Different = dict[str, tuple[str | None, str | None]]
SYSCTLS = ("ipv4/conf", "ipv6/conf", "ipv4/neigh", "ipv6/neigh", "mpls/conf")
# Not a setting: counters, states that follow from elsewhere, and time that passes. Each with where it would show.
STATES = (
    r"link\.(promiscuity|allmulti|qdisc|stats.*|link_netnsid|link_index|altnames.*)",
    r"link\.linkinfo\.info_data\.(macaddr_count|used_bc_queue_len|numqueues|numdisabled)",
    r"address\..*(valid|preferred)_life_time",
    r"sysctl\.ipv6/conf/mtu",  # follows the link's
    r"ethtool\.link\.Link detected",
    r"file\.(statistics/.*|queues/tx-\d+/byte_queue_limits/(limit|inflight|stall_max))",
)
SHOWN = {"features": "-k", "coalesce": "-c", "rings": "-g", "channels": "-l", "pause": "-a", "eee": "--show-eee"}
SHOWN |= {"fec": "--show-fec", "flags": "--show-priv-flags", "rss": "-x", "rules": "-n", "link": ""}
LEFT_ALONE = {links.IFLA_IFNAME, links.IFLA_LINK, links.IFLA_LINKINFO, links.IFLA_AF_SPEC, links.IFLA_PROP_LIST}


def run(netns: Path | str, *argv: str) -> str | None:
    """Its output; None if it failed."""
    done = subprocess.run(["nsenter", f"--net={netns}", *argv], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def flatten(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flatten(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            key = inner if isinstance(inner, str) else str(number)
            yield from flatten(inner, f"{path}.{key}")
    else:
        yield path, str(value)


def picture(name: str, netns: Path | str) -> Picture:
    """By "source.what", the value that is shown."""
    found: Picture = {}
    for source, argv in (
        ("link", ["ip", "-d", "-j", "link", "show", "dev", name]),
        ("address", ["ip", "-d", "-j", "addr", "show", "dev", name]),
    ):
        shown = [item for item in json.loads(run(netns, *argv) or "[]") if item]
        if source == "address":
            shown = [a for a in shown[0]["addr_info"] if a and a["scope"] == "global"]
        for number, item in enumerate(shown):
            found |= flatten(item, source if len(shown) == 1 or source == "link" else f"{source}.{number}")
    for source, argv in (
        ("discipline", ["tc", "qdisc", "show", "dev", name]),
        ("class", ["tc", "class", "show", "dev", name]),
        ("neighbour", ["ip", "neigh", "show", "dev", name, "nud", "permanent"]),
        ("proxied", ["ip", "neigh", "show", "proxy", "dev", name]),
        ("proxied6", ["ip", "-6", "neigh", "show", "proxy", "dev", name]),
        ("forwarding", ["bridge", "fdb", "show", "dev", name]),
        ("multicast", ["ip", "maddr", "show", "dev", name]),
        ("token", ["ip", "token", "get", "dev", name]),
        ("filter", ["tc", "filter", "show", "dev", name, "ingress"]),
    ):
        found |= {f"{source}.{line.strip()}": "there" for line in (run(netns, *argv) or "").splitlines()}
    for source, option in SHOWN.items():
        lines = (run(netns, "ethtool", *([option] if option else []), name) or "").splitlines()
        found |= {f"ethtool.{source}.{k.strip()}": v.strip() for k, _, v in (x.partition(":") for x in lines) if v}
    found |= namespaces.inside({"net": netns}, lambda: dict(sysctls(name)))
    found |= namespaces.inside({"net": netns}, lambda: dict(files(name)))
    if found["link.operstate"] == "UNKNOWN":
        found["link.operstate"] = "UP"  # nobody has asked yet; as good, and the kernel has no way back from UP
    return {k: v for k, v in found.items() if not any(re.fullmatch(state, k) for state in STATES)}


def sysctls(name: str) -> Iterator[tuple[str, str]]:
    for place in SYSCTLS:
        for file in sorted(Path(f"/proc/sys/net/{place}/{name}").glob("*")):
            yield f"sysctl.{place}/{file.name}", content(file)


@contextlib.contextmanager
def device_directory(name: str) -> Iterator[Path]:
    """Its directory in a sysfs of this thread's namespace."""
    mounted = sysfs.mount()
    try:
        yield Path(f"/proc/self/fd/{mounted}/class/net/{name}")
    finally:
        os.close(mounted)


def files(name: str) -> Iterator[tuple[str, str]]:
    with device_directory(name) as top:
        for file in sorted(top.rglob("*")):
            if file.is_file() and file.stat().st_mode & 0o200 and file.name != "uevent":
                yield f"file.{file.relative_to(top)}", content(file)


def content(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        return error.strerror or ""


def other_values(now: str) -> list[str]:
    if re.fullmatch(r"-?\d+", now):
        number = int(now)
        return [str(n) for n in (number + 1, number ^ 1, number - 1, 0, 1, 2, number // 2 + 8) if n != number]
    return {"auto": ["on"]}.get(now, ["3", "1", "2001:db8::5ec7:e7"] if now == "Input/output error" else ["3", "1"])


def change_files(name: str) -> None:
    """Another value into every file that takes one; in the namespace of this thread, sysfs mounted there."""
    for place in SYSCTLS:
        last = {"disable_ipv6", "mtu"}  # takes the rest away
        for file in sorted(Path(f"/proc/sys/net/{place}/{name}").glob("*"), key=lambda f: f.name in last):
            if file.name not in last:
                change_file(file)
    with device_directory(name) as top:
        for key in dict(files(name)):
            if not re.search("flags|mtu|ifalias|carrier", key):
                change_file(top / key.removeprefix("file."))


def change_file(file: Path) -> None:
    now = content(file)
    for value in other_values(now):
        with contextlib.suppress(OSError):
            file.write_text(value)
            if content(file) != now:
                return


def other_bytes(value: bytes) -> Iterator[bytes]:
    if len(value) in (1, 2, 4, 8):
        code = {1: "B", 2: "H", 4: "I", 8: "Q"}[len(value)]
        (number,) = struct.unpack(f"={code}", value)
        for other in (number // 2, number - 1, number + 1, number * 2, number ^ 1, 1, 4, 5, 6):
            if other != number and 0 <= other < 1 << 8 * len(value):
                yield struct.pack(f"={code}", other)
    elif value:
        yield bytes([value[0], *(b ^ 0x55 for b in value[1:])])
        yield b"other\0"


def change_attributes(end: Netns, name: str) -> int:
    """Another value for every attribute of the link message, and of its kind, that takes one. How many did."""

    def now() -> dict[int, bytes]:
        link = links.get(end.netlink, name)
        assert link is not None
        return dict(attributes(link.attributes))

    def data() -> dict[int, bytes]:
        return dict(attributes(dict(attributes(now()[links.IFLA_LINKINFO])).get(2, b"")))

    link = links.get(end.netlink, name)
    assert link is not None
    changed = 0
    for kind in sorted(set(now()) - LEFT_ALONE):
        changed += any(
            changes(end, links.RTM_SETLINK, links.header(link.index) + attribute(kind, other), now, kind)
            for other in other_bytes(now()[kind])
        )
    for kind in sorted(data()) if links.IFLA_LINKINFO in now() else []:
        for other in other_bytes(data()[kind]):
            inner = nested(2, attribute(kind, other))
            body = links.header(link.index) + nested(links.IFLA_LINKINFO, text(1, link.kind), inner)
            if changes(end, links.RTM_NEWLINK, body, data, kind):
                changed += 1
                break
    for bit in range(1, 20):
        with contextlib.suppress(OSError):
            links.set_flags(end.netlink, link.index, ~link.flags, 1 << bit)
    return changed


def changes(end: Netns, message: int, body: bytes, read: Any, kind: int) -> bool:
    before = read().get(kind)
    try:
        end.netlink.request(message, body)
    except OSError:
        return False
    return bool(read().get(kind) != before)


def change_by_tools(netns: Path | str, name: str) -> None:
    """What has a tool's word for it: ethtool's settings, disciplines, neighbours, groups, addresses."""
    for line in (run(netns, "ethtool", "-k", name) or "").splitlines()[1:]:
        feature, _, state = line.strip().partition(": ")
        if "fixed" not in state:
            run(netns, "ethtool", "-K", name, feature, "off" if state.startswith("on") else "on")
    for option, show in (("-C", "-c"), ("-G", "-g"), ("-L", "-l"), ("-A", "-a")):
        for line in (run(netns, "ethtool", show, name) or "").splitlines():
            word, _, value = line.strip().partition(":")
            for other in other_values(value.strip()) if re.fullmatch(r"\s*\d+", value) else ["on", "off"]:
                run(netns, "ethtool", option, name, word.lower(), other)
    for words in ("speed 1000 duplex half", "msglvl 5", "autoneg on", "wol g", "port tp", "mdix on", "phyad 3"):
        run(netns, "ethtool", "-s", name, *words.split())
    for command in (
        f"tc qdisc replace dev {name} root handle 9: tbf rate 1mbit burst 1600 limit 3000",
        f"tc qdisc add dev {name} clsact",
        f"ip neigh add 203.0.113.9 lladdr 02:00:00:00:00:09 dev {name} nud permanent",
        f"ip neigh add proxy 203.0.113.10 dev {name}",
        f"ip -6 neigh add proxy 2001:db8:9::9 dev {name}",
        f"ip maddr add 01:00:5e:7f:00:09 dev {name}",
        f"bridge fdb append 02:00:00:00:00:77 dev {name} dst 192.0.2.77",
        f"bridge fdb add 02:00:00:00:00:78 dev {name} self permanent",
        f"ip token set ::99 dev {name}",
        f"ip addr add 203.0.113.8/24 dev {name}",
        f"ip addr add 2001:db8:9::8/64 dev {name}",
        f"ip link property add dev {name} altname tinkered",
    ):
        run(netns, *command.split())


def differing(one: Picture, other: Picture) -> Different:
    keys = one.keys() | other.keys()
    return {k: (one.get(k), other.get(k)) for k in sorted(keys) if one.get(k) != other.get(k)}


def tinker(netns: Path | str, name: str) -> None:
    """All of the above, to a link of the namespace."""
    netns_thread.in_namespaces_thread((netns,), lambda end: change_attributes(end, name))
    change_by_tools(netns, name)
    namespaces.inside({"net": netns}, lambda: change_files(name))
