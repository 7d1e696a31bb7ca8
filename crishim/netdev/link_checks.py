"""Checks of host links that no pod may have, whoever asks and whatever the policy says.

Each check is independent and returns why the link cannot be given, "" if it can.
"""

import ipaddress
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from crishim.linux.netlink.links import IFF_LOOPBACK, Link
from crishim.linux.stacking import NOTHING, PAIRED, Below, below, is_external, is_tunnel
from crishim.netdev.link_usage import UNUSED, LinkUsage
from crishim.netdev.records import Attachment

# Names of links that network plugins make; their kind alone does not always tell.
PLUGINS = {
    "cilium_*": "Cilium",
    "lxc_health": "Cilium",
    "flannel*": "flannel",
    "cali*": "Calico",
    "*.calico": "Calico",
    "wireguard.cali": "Calico",
    "antrea-*": "Antrea",
    "ovn-k8s-*": "OVN-Kubernetes",
    "weave": "Weave Net",
    "vethwe-*": "Weave Net",
    "kube-ipvs0": "kube-proxy",
    "kube-bridge": "kube-router",
    "nodelocaldns": "NodeLocal DNSCache",
}


@dataclass(frozen=True)
class HostState:
    """What the checks look at."""

    host_links: Sequence[Link]
    attachments: Sequence[Attachment]  # that hold a device, of every pod
    around: LinkUsage = UNUSED
    node_addresses: frozenset[bytes] = frozenset()
    network_links: Collection[str] = ()  # names of links that the pods' CNI network is built on

    @cached_property
    def stacked(self) -> list[tuple[Link, Below]]:
        """The links that have a master or a lower device here."""
        here = [(x, below(x)) for x in self.host_links if x.parent_netns is None]
        return [(x, stands) for x, stands in here if x.master or stands != NOTHING]

    def name(self, index: int) -> str:
        return next((x.name for x in self.host_links if x.index == index), f"link {index}")


def _loopback(link: Link, _: HostState) -> str:
    return "it is the loopback interface" if link.flags & IFF_LOOPBACK else ""


def _network(link: Link, scene: HostState) -> str:
    return "the CNI network of the pods is built on it" if set(link.names) & set(scene.network_links) else ""


def _immovable(link: Link, _: HostState) -> str:
    return "its kind cannot leave its namespace" if link.immovable or link.kind == "bridge" else ""


def _port(link: Link, scene: HostState) -> str:
    return f"it belongs to {scene.name(link.master)}" if link.master else ""


def _lower(link: Link, scene: HostState) -> str:
    """Ports and upper devices, here and in pods, that depend on the link or on its address."""
    addresses = scene.around.addresses.get(link.index, frozenset())
    for other, stands in scene.stacked:
        if other.index == link.index:
            continue
        if other.master == link.index or link.index in stands.links:
            return f"{other.name} depends on it"
        for address in stands.addresses & addresses:
            if scene.around.owners.get(address, frozenset()) == {link.index}:
                return f"{other.name} depends on its address {_ip(address)}"
    for a in scene.attachments:
        if a.host.parent == link.index and a.host.parent_netns is None and a.host.kind not in PAIRED:
            return f"{a.host.name} in pod {a.pod} depends on it"
    above = scene.around.above.get(link.index)
    return f"{above} depends on it" if above else ""


def _default_route(link: Link, scene: HostState) -> str:
    """A default route, in any table, or one as wide (host_routes.WIDE)."""
    route = scene.around.ways.wide.get(link.index)
    return f"the node's own traffic goes over it: route {route}" if route else ""


def _node_address(link: Link, scene: HostState) -> str:
    own = scene.around.addresses.get(link.index, frozenset())
    for address in sorted(own & (scene.node_addresses | scene.around.ways.sources)):
        return f"it has the node's address {_ip(address)}"
    return ""


def _source(link: Link, scene: HostState) -> str:
    """The kernel deletes such a route with the address (fib_sync_down_addr), and nothing would restore it."""
    for address in sorted(scene.around.addresses.get(link.index, frozenset())):
        if address not in scene.around.ways.borrowing:
            continue
        route, over = scene.around.ways.borrowing[address]
        if scene.around.owners.get(address, frozenset()) == {link.index}:
            where = f" over {', '.join(sorted(map(scene.name, over)))}" if over else ""
            return f"route {route}{where} has its address {_ip(address)} as source"
    return ""


def _other_end(link: Link, scene: HostState) -> str:
    if link.kind not in PAIRED:
        return ""
    for a in scene.attachments:
        if a.host.parent == link.index and a.host.parent_netns is None and a.host.kind in PAIRED:
            return f"its other end, {a.host.name}, is in pod {a.pod}"
    away = link.parent_netns is not None
    return "its other end is in another network namespace, a pod's for all one can tell" if away else ""


def _overlay(link: Link, scene: HostState) -> str:
    if not is_tunnel(link):
        return ""
    if is_external(link):
        return "it is a tunnel that others' routes and programs send through"
    route = scene.around.ways.tunnelled.get(link.index)
    return f"it is a tunnel that is in use: route {route}" if route else ""


def _plugin(link: Link, _: HostState) -> str:
    found = [owner for pattern, owner in PLUGINS.items() if any(fnmatchcase(name, pattern) for name in link.names)]
    return f"its name is one that {found[0]} gives its own" if found else ""


def _functions(link: Link, scene: HostState) -> str:
    """A function with a driver and no network device here is a pod's, a virtual machine's, a user-space driver's."""
    for function in scene.around.functions.get(link.index, ()):
        holder = next((a for a in scene.attachments if a.identity.bus_device == function.address), None)
        if holder is not None:
            return f"pod {holder.pod} has its virtual function {function.address}"
        if function.driver and not function.names:
            return f"its virtual function {function.address} is given out (driver {function.driver}, no device here)"
    return ""


def _ours(link: Link, scene: HostState) -> str:
    holder = next((a for a in scene.attachments if a.altname in link.altnames), None)
    return f"pod {holder.pod} has it, and somebody brought it back by hand" if holder else ""


def _text(link: Link, _: HostState) -> str:
    try:
        "\n".join((*link.names, link.alias)).encode()
    except UnicodeEncodeError:
        return "a name or the alias of it is not UTF-8"
    return ""


def _ip(address: bytes) -> str:
    return str(ipaddress.ip_address(address))


Check = Callable[[Link, HostState], str]
OF_THE_NODE: tuple[Check, ...] = (_default_route, _node_address)  # what allow_node_device lets root's sources have
ALWAYS: tuple[Check, ...] = (
    _loopback,
    _network,
    _immovable,
    _port,
    _lower,
    _source,
    _other_end,
    _overlay,
    _plugin,
    _functions,
    _ours,
    _text,
)


def reason(link: Link, scene: HostState, *, node_device_allowed: bool = False) -> str:
    """Why a link can be given to no pod; "" if it can."""
    checks = ALWAYS if node_device_allowed else (*OF_THE_NODE, *ALWAYS)
    return next(filter(None, (check(link, scene) for check in checks)), "")
