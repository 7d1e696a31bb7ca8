"""Lists every link of the host: which rules give it to pods, why none does, or which pod has it."""

from collections.abc import Sequence
from typing import NamedTuple

from crishim.device_rules import PHYSICAL
from crishim.linux.netlink import links
from crishim.linux.netns_thread import Netns
from crishim.netdev import link_checks
from crishim.netdev.link_checks import HostState
from crishim.netdev.link_usage import read_usage
from crishim.netdev.policy import Grant, Terms
from crishim.netdev.records import Attachment


class HostLink(NamedTuple):
    """A link of the host, or one that a pod has from it."""

    name: str  # on the host
    altnames: tuple[str, ...]
    kind: str  # as rules call it
    holder: Attachment | None = None  # of the pod that has it
    reason: str = ""  # why no pod may have it
    root_only: str = ""  # why no annotation can ask for it, though root's sources can (allow_node_device)
    grants: tuple[Grant, ...] = ()  # the rules that give it by annotation


def list_links(host: Netns, held: Sequence[Attachment], terms: Terms) -> list[HostLink]:
    """All links by ifindex, with the checks made before a move; then those that pods have. Raises OSError."""
    here = links.dump(host.netlink)
    scene = HostState(here, held, read_usage(host, here), terms.node_addresses, terms.network_links())
    found = []
    for link in here:
        why = link_checks.reason(link, scene)
        spared = bool(why) and terms.allow_node_device and not link_checks.reason(link, scene, node_device_allowed=True)
        found.append(
            HostLink(
                link.name,
                tuple(x for x in link.altnames if x not in {a.altname for a in held}),
                link.kind or PHYSICAL,
                reason="" if spared else why,
                root_only=why if spared else "",
                grants=() if why else tuple(terms.policy.grants(link.names, link.kind)),
            )
        )
    return found + [HostLink(a.host.name, a.host.altnames, a.host.kind or PHYSICAL, holder=a) for a in held]
