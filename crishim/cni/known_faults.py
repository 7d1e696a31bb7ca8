"""Complaints of plugins' CHECK that are the plugin's own fault: a healthy pod is not to be told sick."""

from collections.abc import Sequence


def own_fault(plugin: str, complaint: str, addresses: Sequence[str]) -> str:
    """Why a complaint says nothing about the pod; "" where no such fault is known. addresses: the pod's own.

    portmap before 1.3 (Debian 12 has 1.1.1) looks for the rules of each address in iptables and in ip6tables, and finds
    none of IPv4 in the latter: https://github.com/containernetworking/plugins/issues/819. IPv4 it looks at first.
    """
    if plugin != "portmap":
        return ""
    for table, other in (("ipv6", "."), ("ipv4", ":")):
        wrong = [address for address in addresses if other in address and f"-s {address}/" in complaint]
        if f"could not check {table} dnat" in complaint and wrong:
            return f"this portmap looks for the rules of {wrong[0]} in the tables of {table} (plugins issue 819)"
    return ""
