"""BPF programs on a device: a pod's are taken off before the device is up on the host, the host's are put back.

XDP and tcx programs stay on a device through every move. Those of tc filters die with their filters. What a bpf_link
held on the host and the pod detached cannot be put back for its owner: it is named.
"""

import errno
from collections.abc import Sequence

from crishim.linux import bpf, xdp
from crishim.linux.bpf import BpfProgram
from crishim.linux.netlink import links, queueing
from crishim.linux.netlink.links import Link
from crishim.netdev.restore_context import RestoreContext

TC_FILTER = "tc filter"


def hooks(kind: str) -> list[str]:
    return [hook for hook in bpf.HOOKS if not hook.startswith("netkit") or kind == "netkit"]


def read(link: Link, queued: Sequence[queueing.TcObject] = ()) -> tuple[BpfProgram, ...]:
    """The programs on a link of the namespace this thread is in, in the order they run. Raises OSError."""
    found = []
    for mode, id in xdp.parse(link.xdp).items():
        found.append(_describe(mode, id, by_link=bool(bpf.xdp_links(link.index, id))))
    for hook in hooks(link.kind):
        found += [_describe(hook, id, by_link=bool(held)) for id, held in bpf.query(link.index, hook)]
    found += [_describe(TC_FILTER, id) for id in map(queueing.program_of, queued) if id]
    return tuple(found)


def _describe(hook: str, id: int, *, by_link: bool = False) -> BpfProgram:
    try:
        return bpf.describe(hook, id, by_link=by_link)
    except FileNotFoundError:  # it went away while we looked
        return BpfProgram(hook=hook, id=id, by_link=by_link)


def restore(context: RestoreContext, link: Link) -> None:
    """Take off a pod's, put back the host's. Raises OSError if they cannot be asked for."""
    take_off(context, link)
    put_back(context, link)


def take_off(context: RestoreContext, link: Link) -> None:
    """Every XDP and tcx program that the host did not have there. What resists is a problem."""
    was = {(p.hook, p.id) for p in context.was.programs}
    for mode, id in xdp.parse(link.xdp).items():
        if (mode, id) not in was and not context.was.xdp:
            context.touched.add("programs")
            with context.attempt(f"{mode} program {id}"):
                _detach_xdp(context, mode, id)
    for hook in hooks(link.kind):
        for id, held in bpf.query(link.index, hook):
            if (hook, id) not in was:
                context.touched.add("programs")
                with context.attempt(f"{hook} program {id}"):
                    bpf.detach(link.index, hook, id, held)


def _detach_xdp(context: RestoreContext, mode: str, id: int) -> None:
    netlink = context.host.netlink
    try:
        xdp.detach(netlink, context.index, mode)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        for held in bpf.xdp_links(context.index, id):  # on the host: this ifindex is no other host device's
            bpf.detach_link(held)
            now = links.get(netlink, context.index)
            if now is None or xdp.parse(now.xdp).get(mode) != id:
                return
        raise


def put_back(context: RestoreContext, link: Link) -> None:
    """The host's XDP and tcx programs that the pod took off, if they still exist and no bpf_link held them."""
    if not context.was.programs:
        return
    now = {(p.hook, p.id) for p in read(link)}
    for program in context.was.programs:
        if (program.hook, program.id) in now or program.hook == TC_FILTER or program.by_link or not is_loaded(program):
            continue
        with context.attempt(str(program)):
            if program.hook in bpf.HOOKS:
                bpf.attach(context.index, program.hook, program.id, before=_next(context, program))
            else:
                with bpf.opened(bpf.PROG_GET_FD_BY_ID, program.id) as fd:
                    xdp.attach(context.host.netlink, context.index, program.hook, fd)


def is_loaded(program: BpfProgram) -> bool:
    """Whether this very program is loaded now, and not a later one with its id."""
    try:
        now = bpf.describe(program.hook, program.id)
    except OSError:
        return False
    return (now.tag, now.loaded) == (program.tag, program.loaded)


def _next(context: RestoreContext, program: BpfProgram) -> int:
    """The program that ran next after it and is there, 0 if it was the last."""
    there = {id for id, _ in bpf.query(context.index, program.hook)}
    mine = [p for p in context.was.programs if p.hook == program.hook]
    behind = mine[mine.index(program) + 1 :]
    return next((p.id for p in behind if p.id in there), 0)
