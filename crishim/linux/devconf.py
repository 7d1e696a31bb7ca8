"""Per-device settings, net.ipv4.conf.NAME.* and net.ipv6.conf.NAME.*: read from a link message, written back.

Reading the hundred files below /proc/sys takes a millisecond a link; the link message has them all. IPv4's are written
through netlink too; IPv6's only through their files, so writing happens in a thread that is in the link's namespace.
The ids are the kernel's: linux/ip.h (IPV4_DEVCONF_*), linux/ipv6.h (DEVCONF_*); ids unknown here are left alone.
"""

import errno
import os
import struct
from pathlib import Path
from typing import NamedTuple

from crishim.linux.netlink.links import (
    AF_INET,
    AF_INET6,
    IFLA_INET6_ADDR_GEN_MODE,
    IFLA_INET6_CONF,
    IFLA_INET6_TOKEN,
    IFLA_INET_CONF,
)
from crishim.linux.netlink.rtnetlink import table

MC_FORWARDING = 2  # of IPv4: read-only
ACCEPT_RA = "accept_ra"

# None: not a setting (read-only, or derived from another).
IPV6_NAMES: tuple[str | None, ...] = (
    "forwarding",
    "hop_limit",
    None,  # mtu: follows the link's
    "accept_ra",
    "accept_redirects",
    "autoconf",
    "dad_transmits",
    "router_solicitations",
    "router_solicitation_interval",
    "router_solicitation_delay",
    "use_tempaddr",
    "temp_valid_lft",
    "temp_prefered_lft",
    "regen_max_retry",
    "max_desync_factor",
    "max_addresses",
    "force_mld_version",
    "accept_ra_defrtr",
    "accept_ra_pinfo",
    "accept_ra_rtr_pref",
    "router_probe_interval",
    "accept_ra_rt_info_max_plen",
    "proxy_ndp",
    "optimistic_dad",
    "accept_source_route",
    None,  # mc_forwarding
    "disable_ipv6",
    "accept_dad",
    "force_tllao",
    "ndisc_notify",
    "mldv1_unsolicited_report_interval",
    "mldv2_unsolicited_report_interval",
    "suppress_frag_ndisc",
    "accept_ra_from_local",
    "use_optimistic",
    "accept_ra_mtu",
    None,  # stable_secret: an address, never in the message
    "use_oif_addrs_only",
    "accept_ra_min_hop_limit",
    "ignore_routes_with_linkdown",
    "drop_unicast_in_l2_multicast",
    "drop_unsolicited_na",
    "keep_addr_on_down",
    "router_solicitation_max_interval",
    "seg6_enabled",
    "seg6_require_hmac",
    "enhanced_dad",
    "addr_gen_mode",
    "disable_policy",
    "accept_ra_rt_info_min_plen",
    "ndisc_tclass",
    "rpl_seg_enabled",
    "ra_defrtr_metric",
    "ioam6_enabled",
    "ioam6_id",
    "ioam6_id_wide",
    "ndisc_evict_nocarrier",
    "accept_untracked_na",
    "accept_ra_min_lft",
    "force_forwarding",
)
IPV4_NAMES: tuple[str, ...] = (
    "forwarding",
    "mc_forwarding",
    "proxy_arp",
    "accept_redirects",
    "secure_redirects",
    "send_redirects",
    "shared_media",
    "rp_filter",
    "accept_source_route",
    "bootp_relay",
    "log_martians",
    "tag",
    "arp_filter",
    "medium_id",
    "disable_xfrm",
    "disable_policy",
    "force_igmp_version",
    "arp_announce",
    "arp_ignore",
    "promote_secondaries",
    "arp_accept",
    "arp_notify",
    "accept_local",
    "src_valid_mark",
    "proxy_arp_pvlan",
    "route_localnet",
    "igmpv2_unsolicited_report_interval",
    "igmpv3_unsolicited_report_interval",
    "ignore_routes_with_linkdown",
    "drop_unicast_in_l2_multicast",
    "drop_gratuitous_arp",
    "bc_forwarding",
    "arp_evict_nocarrier",
)
# Settings below /proc/sys/net/ that are in no message: stable_secret is an address or cannot be read.
FILES = ("ipv6/conf/{}/stable_secret", "mpls/conf/{}/input")
NO_FILE = frozenset({errno.ENOENT, errno.EIO})  # no such family here; no secret was set

SECONDS = frozenset(n for n in IPV6_NAMES if n is not None and n.startswith("router_"))  # milliseconds in the message
SECONDS -= {"router_solicitations"}
UNSIGNED = frozenset({"ioam6_id_wide", "ra_defrtr_metric"})  # the message has them as signed numbers


class Devconf(NamedTuple):
    """ipv4: values of ids 1, 2, ...; ipv6: of ids 0, 1, ...; both empty where the link has no such family."""

    ipv4: tuple[int, ...] = ()
    ipv6: tuple[int, ...] = ()
    gen_mode: int | None = None  # IFLA_INET6_ADDR_GEN_MODE
    token: bytes = b""  # IFLA_INET6_TOKEN, 16 bytes


def parse(settings: bytes) -> Devconf:
    """Settings of Link.settings (IFLA_AF_SPEC)."""
    families = table(settings)
    inet = table(families.get(AF_INET, b""))
    inet6 = table(families.get(AF_INET6, b""))
    mode = inet6.get(IFLA_INET6_ADDR_GEN_MODE)
    return Devconf(
        _numbers(inet.get(IFLA_INET_CONF, b"")),
        _numbers(inet6.get(IFLA_INET6_CONF, b"")),
        mode[0] if mode else None,
        inet6.get(IFLA_INET6_TOKEN, b""),
    )


def _numbers(value: bytes) -> tuple[int, ...]:
    return struct.unpack_from(f"={len(value) // 4}i", value)


def ipv4_changes(now: Devconf, wanted: Devconf) -> list[tuple[int, int]]:
    """(id, value) of each net.ipv4.conf setting that differs, for links.set_ipv4_settings."""
    pairs = enumerate(zip(now.ipv4, wanted.ipv4, strict=False), start=1)
    return [(kind, value & 0xFFFFFFFF) for kind, (is_now, value) in pairs if is_now != value and kind != MC_FORWARDING]


def ipv6_changes(now: Devconf, wanted: Devconf) -> list[tuple[str, int]]:
    """(name, value) of each net.ipv6.conf setting that differs, for write_ipv6."""
    pairs = zip(IPV6_NAMES, now.ipv6, wanted.ipv6, strict=False)
    return [(name, _as_written(name, value)) for name, is_now, value in pairs if name is not None and is_now != value]


def _as_written(name: str, value: int) -> int:
    if name in SECONDS and value >= 0:
        return value // 1000
    return value & 0xFFFFFFFF if name in UNSIGNED else value


def ipv6_value(settings: Devconf, name: str) -> int | None:
    """The value of one net.ipv6.conf setting; None if the link has none."""
    position = IPV6_NAMES.index(name)
    return _as_written(name, settings.ipv6[position]) if position < len(settings.ipv6) else None


def write_ipv6(link: str, name: str, value: int) -> None:
    """Write net.ipv6.conf.LINK.NAME in the namespace this thread is in. Raises OSError."""
    Path(f"/proc/sys/net/ipv6/conf/{link}/{name}").write_text(str(value))


def ipv4_name(kind: int) -> str:
    return IPV4_NAMES[kind - 1] if kind <= len(IPV4_NAMES) else f"setting {kind}"


def file_name(pattern: str) -> str:
    """One of FILES as sysctl(8) names it, without the link: "net.ipv6.conf.stable_secret"."""
    return "net." + pattern.replace("/{}", "").replace("/", ".")


def read_files(link: str) -> tuple[tuple[str, str], ...]:
    """(pattern of FILES, value) of those the link has a value for. In the namespace this thread is in."""
    found = []
    for pattern in FILES:
        try:
            file = os.open("/proc/sys/net/" + pattern.format(link), os.O_RDONLY | os.O_CLOEXEC)
            try:
                found.append((pattern, os.read(file, 4096).decode().strip()))
            finally:
                os.close(file)
        except OSError as error:
            if error.errno not in NO_FILE:
                raise
    return tuple(found)


def write_file(link: str, pattern: str, value: str) -> None:
    """Write one of FILES. Raises OSError."""
    Path("/proc/sys/net", pattern.format(link)).write_text(value)
