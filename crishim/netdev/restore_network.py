"""Restores what the host's network had on the device: nexthops, routes, neighbours, multicast, queueing.

Only what is missing is added; what a pod added of these was deleted by the move to the host.
"""

import errno

from crishim.linux import bpf, multicast
from crishim.linux.netlink import neighbours, nexthops, queueing, routes
from crishim.linux.netlink.queueing import TcObject
from crishim.netdev.bpf_programs import TC_FILTER, is_loaded
from crishim.netdev.restore_context import RestoreContext


def restore_nexthops(context: RestoreContext) -> None:
    """Nexthop objects, then the groups they were in."""
    for nexthop in context.was.nexthops:
        with context.attempt(f"nexthop {nexthop.id}"):
            if nexthop.members:
                nexthops.add_group(context.host.netlink, nexthop)
            else:
                nexthops.add(context.host.netlink, nexthop, context.index)


def restore_routes(context: RestoreContext) -> list[str]:
    """Routes without a gateway first: the others are reached through them. Returns what was refused."""
    problems = []
    replaced = {context.was.index: context.index}
    for captured in sorted(context.was.routes, key=lambda r: r.has_gateway or r.uses_nexthop_object):
        route = routes.aged(captured, context.away)
        if route is None:
            continue
        try:
            routes.add(context.host.netlink, route, replaced)
        except OSError as error:
            if error.errno != errno.EEXIST:
                what = "a route by a nexthop object" if route.uses_nexthop_object else f"a route in table {route.table}"
                problems.append(f"{what} over {context.was.name} was not restored: {error.strerror}")
    return problems


def restore_entries(context: RestoreContext) -> None:
    """Static and proxied neighbours, forwarding entries; those a pod added to a vxlan are removed."""
    netlink, was = context.host.netlink, context.was
    if not was.entries and was.kind != "vxlan":
        return
    now = neighbours.dump(netlink, context.index)
    if was.kind == "vxlan" or any(e.family == neighbours.AF_BRIDGE for e in was.entries):
        now += neighbours.dump_forwarding(netlink, context.index)
    for entry in neighbours.missing(was.entries, now):
        with context.attempt(str(entry)):
            neighbours.remove(netlink, context.index, entry)
    for entry in neighbours.missing(now, was.entries):
        with context.attempt(str(entry)):
            neighbours.add(netlink, context.index, entry)


def restore_multicast(context: RestoreContext) -> None:
    """Link-layer filters a user set. Groups are joined by sockets and cannot be joined for them."""
    if not context.was.multicast:
        return
    now = multicast.filters([context.index])[context.index]
    for address in context.was.multicast:
        if address not in now:
            with context.attempt(f"multicast filter {address.hex(':')}"):
                multicast.change_filter(context.name, address, add=True)


def restore_queueing(context: RestoreContext) -> None:
    """Disciplines, classes, filters; nothing if all are there. A filter's BPF program must still be loaded."""
    if not context.was.queueing:
        return
    programs = {p.id: p for p in context.was.programs if p.hook == TC_FILTER}
    for node in queueing.missing(queueing.read(context.host.netlink, context.index), context.was.queueing):
        with context.attempt(str(node)):
            program = programs.get(queueing.program_of(node))
            if program is None:
                queueing.add(context.host.netlink, context.index, node)
            elif is_loaded(program):
                _add_with_program(context, node, program.id)
            else:
                raise OSError(errno.ENOENT, f"{program} is not loaded any more")


def _add_with_program(context: RestoreContext, node: TcObject, id: int) -> None:
    with bpf.opened(bpf.PROG_GET_FD_BY_ID, id) as fd:
        queueing.add(context.host.netlink, context.index, queueing.with_program(node, fd))
