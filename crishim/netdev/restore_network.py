"""What of the host's network went over the device: nexthops, routes, neighbours, multicast, queueing.

Put back where it is missing; what a pod added of these died with the link's stay in its namespace.
"""

import errno

from crishim.linux import bpf, multicast
from crishim.linux.netlink import neighbour_entries, nexthops, queueing, routes
from crishim.linux.netlink.queueing import Node
from crishim.netdev.programs import TC_FILTER, is_loaded
from crishim.netdev.restoring import Restoring


def restore_nexthops(place: Restoring) -> None:
    """Nexthop objects, then the groups they were in."""
    for nexthop in place.was.nexthops:
        with place.attempt(f"nexthop {nexthop.id}"):
            if nexthop.members:
                nexthops.add_group(place.host.netlink, nexthop)
            else:
                nexthops.add(place.host.netlink, nexthop, place.index)


def restore_routes(place: Restoring) -> list[str]:
    """Routes without a gateway first: the others are reached through them. Returns what was refused."""
    problems = []
    replaced = {place.was.index: place.index}
    for captured in sorted(place.was.routes, key=lambda r: r.has_gateway or r.uses_nexthop_object):
        route = routes.aged(captured, place.away)
        if route is None:
            continue
        try:
            routes.add(place.host.netlink, route, replaced)
        except OSError as error:
            if error.errno != errno.EEXIST:
                what = "a route by a nexthop object" if route.uses_nexthop_object else f"a route in table {route.table}"
                problems.append(f"{what} over {place.was.name} was not restored: {error.strerror}")
    return problems


def restore_entries(place: Restoring) -> None:
    """Static and proxied neighbours, forwarding entries; those a pod added to a vxlan go."""
    netlink, was = place.host.netlink, place.was
    if not was.entries and was.kind != "vxlan":
        return
    now = neighbour_entries.dump(netlink, place.index)
    if was.kind == "vxlan" or any(e.family == neighbour_entries.AF_BRIDGE for e in was.entries):
        now += neighbour_entries.dump_forwarding(netlink, place.index)
    for entry in neighbour_entries.missing(was.entries, now):
        with place.attempt(str(entry)):
            neighbour_entries.remove(netlink, place.index, entry)
    for entry in neighbour_entries.missing(now, was.entries):
        with place.attempt(str(entry)):
            neighbour_entries.add(netlink, place.index, entry)


def restore_multicast(place: Restoring) -> None:
    """Link-layer filters a user set. Groups are joined by sockets and cannot be joined for them."""
    if not place.was.multicast:
        return
    now = multicast.filters([place.index])[place.index]
    for address in place.was.multicast:
        if address not in now:
            with place.attempt(f"multicast filter {address.hex(':')}"):
                multicast.change_filter(place.name, address, add=True)


def restore_queueing(place: Restoring) -> None:
    """Disciplines, classes, filters; nothing if all are there. A filter's BPF program must still be loaded."""
    if not place.was.queueing:
        return
    programs = {p.id: p for p in place.was.programs if p.hook == TC_FILTER}
    for node in queueing.missing(queueing.read(place.host.netlink, place.index), place.was.queueing):
        with place.attempt(str(node)):
            program = programs.get(queueing.program_of(node))
            if program is None:
                queueing.add(place.host.netlink, place.index, node)
            elif is_loaded(program):
                _add_with_program(place, node, program.id)
            else:
                raise OSError(errno.ENOENT, f"{program} is not loaded any more")


def _add_with_program(place: Restoring, node: Node, id: int) -> None:
    with bpf.opened(bpf.PROG_GET_FD_BY_ID, id) as fd:
        queueing.add(place.host.netlink, place.index, queueing.with_program(node, fd))
