"""BPF programs on a device: a pod's are detached before the device is up on the host, the host's are attached again.

XDP and tcx programs stay attached when a device moves between namespaces. Those of tc filters go with their filters. A
program of a bpf_link that the pod detached can be attached again by the link's owner only: a warning names it.
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
    except FileNotFoundError:  # unloaded meanwhile
        return BpfProgram(hook=hook, id=id, by_link=by_link)


def restore(context: RestoreContext, link: Link) -> None:
    """Detach a pod's, attach the host's again. Raises OSError if the programs cannot be read."""
    detach_pod_programs(context, link)
    attach_host_programs(context, link)


def detach_pod_programs(context: RestoreContext, link: Link) -> None:
    """Detach every XDP and tcx program that the host did not have on it. What fails is in context.refusals."""
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


def attach_host_programs(context: RestoreContext, link: Link) -> None:
    """Attach the host's XDP and tcx programs that the pod detached, if they are still loaded and had no bpf_link."""
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
    """Id of the next program after it that is attached, 0 if there is none."""
    there = {id for id, _ in bpf.query(context.index, program.hook)}
    mine = [p for p in context.was.programs if p.hook == program.hook]
    behind = mine[mine.index(program) + 1 :]
    return next((p.id for p in behind if p.id in there), 0)
