"""Errors of CHECK that are known bugs of plugins and not faults of the pod."""

from collections.abc import Sequence


def known_bug(plugin: str, complaint: str, addresses: Sequence[str]) -> str:
    """Why an error of CHECK is a bug of the plugin; "" if it is none that is known. addresses: the pod's.

    portmap before 1.3 (Debian 12 has 1.1.1) looks for the rules of each address in iptables and in ip6tables, and finds
    none of IPv4 in the latter: https://github.com/containernetworking/plugins/issues/819. It checks IPv4 first.
    """
    if plugin != "portmap":
        return ""
    for table, other in (("ipv6", "."), ("ipv4", ":")):
        wrong = [address for address in addresses if other in address and f"-s {address}/" in complaint]
        if f"could not check {table} dnat" in complaint and wrong:
            return f"this portmap looks for the rules of {wrong[0]} in the tables of {table} (plugins issue 819)"
    return ""
