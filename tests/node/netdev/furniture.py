"""A host device with everything on it that has to come back."""

from pathlib import Path
from typing import Any

from tests.node.netdev.lab import Lab

SETTINGS = {
    "ipv4": {"rp_filter": "2", "arp_announce": "2", "arp_ignore": "1", "proxy_arp": "1", "forwarding": "1"},
    "ipv6": {"accept_ra": "0", "autoconf": "0", "forwarding": "1", "dad_transmits": "3", "hop_limit": "33"},
}


def set_settings(link: str, values: dict[str, dict[str, str]]) -> None:
    for family, pairs in values.items():
        for name, value in pairs.items():
            Path(f"/proc/sys/net/{family}/conf/{link}/{name}").write_text(value)


def set_neighbours(link: str) -> None:
    for family in ("ipv4", "ipv6"):
        for name, value in (("base_reachable_time_ms", "12000"), ("ucast_solicit", "7"), ("unres_qlen_bytes", "65536")):
            Path(f"/proc/sys/net/{family}/neigh/{link}/{name}").write_text(value)


def furnish(lab: Lab) -> dict[str, Any]:
    """demo0 with settings, routes in several tables, an alias, an altname, a queue length; its picture."""
    lab.demo()
    lab.inside(lab.host, lambda: set_settings("demo0", SETTINGS))
    lab.inside(lab.host, lambda: set_neighbours("demo0"))
    lab.ip("link set dev demo0 txqueuelen 321 alias uplink-of-rack-7 group 9 multicast off")
    lab.ip("link property add dev demo0 altname enp7s0-backup")
    number = sum(b"demo0") % 200
    lab.ip("link add other0 type ifb")
    lab.ip("addr add 198.51.100.1/24 dev other0")
    lab.ip("link set other0 up")
    for words in (
        f"10.1.0.0/16 via 192.0.{number}.1 dev demo0 metric 7 mtu 1300",
        f"10.4.0.0/14 via 192.0.{number}.1 dev demo0 table 100",
        "10.2.0.0/16 dev demo0 scope link table 4711 proto static",
        f"10.3.0.0/16 via 203.0.113.1 dev demo0 onlink src 192.0.{number}.7",
    ):
        lab.ip(f"route add {words}")
    lab.ip(f"-6 route add 2001:db8:aaaa::/48 via 2001:db8:{number}::1 dev demo0 metric 5")
    lab.ip(f"-6 route add 2001:db8:bbbb::/48 via 2001:db8:{number}::1 dev demo0 table 100")
    return lab.picture("demo0")
