"""`crishim trace`: the timeline of a pod's start, or the starts that the running daemon keeps."""

import sys

from crishim.cli import timeline
from crishim.cli.client import connect, fail, print_json, print_rows
from crishim.config import Config
from crishim.errors import CrishimError
from crishim.pb import admin_pb2 as admin

HEADS = ("POD", "ID", "CALLS", "TIME", "FAILED")


def show(config: Config, pod: str, *, as_svg: bool, as_json: bool) -> int:
    """Print one start as a timeline, or a table of the kept ones; returns the exit status."""
    if as_svg and not pod:
        return fail("--svg draws the start of one pod: name it")
    try:
        with connect(config) as call:
            answer = call("ListPodStarts", admin.ListPodStartsRequest(pod=pod), admin.ListPodStartsResponse)
    except CrishimError as error:
        return fail(error.message)
    starts: list[admin.PodStart] = list(answer.starts)
    if as_json:
        return print_json(map(_facts, starts))
    if not pod:
        return print_rows([HEADS, *map(_row, starts)])
    sys.stdout.write((timeline.svg if as_svg else timeline.text)(starts[0]))
    return 0


def _row(start: admin.PodStart) -> tuple[str, ...]:
    taken = sum(call.ended - call.began for call in start.calls) / 1e6
    failed = sorted({call.code for call in start.calls} - {"OK"})
    return start.pod, start.pod_sandbox_id[:13], str(len(start.calls)), f"{taken:.0f} ms", ", ".join(failed) or "-"


def _facts(start: admin.PodStart) -> object:
    calls = [
        {"rpc": c.rpc, "trace_id": c.trace_id, "code": c.code, "began": c.began, "ended": c.ended}
        | {
            "spans": [
                {"name": s.name, "id": s.id, "parent": s.parent, "began": s.began, "ended": s.ended} for s in c.spans
            ]
        }
        | {"id": c.id}
        for c in start.calls
    ]
    return {"id": start.pod_sandbox_id, "pod": start.pod, "calls": calls}
