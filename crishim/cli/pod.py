"""`crishim pod`: check the networks of pods; the daemon must be running."""

from crishim.cli.client import connect, fail, print_json, print_rows
from crishim.config import Config
from crishim.errors import CrishimError
from crishim.pb import admin_pb2 as admin

HEADS = ("POD", "ID", "NETWORK", "PLUGIN", "TIME", "CHECK")


def check(config: Config, pod: str, *, as_json: bool) -> int:
    """Run CNI CHECK on one pod or all, and print each plugin's result; returns 1 if one finds an error."""
    try:
        with connect(config) as call:
            answer = call("CheckPods", admin.CheckPodsRequest(pod_sandbox_id=pod), admin.CheckPodsResponse)
    except CrishimError as error:
        return fail(error.message)
    pods: list[admin.PodCheck] = list(answer.pods)
    if as_json:
        print_json(map(_facts, pods))
    else:
        print_rows([HEADS, *(row for pod in pods for row in _rows(pod))])
    return int(any(each.error for pod in pods for each in pod.answers))


def _rows(pod: admin.PodCheck) -> list[tuple[str, ...]]:
    head = (pod.pod, pod.pod_sandbox_id[:13], pod.network or "-")
    if pod.skipped:
        return [(*head, "-", "-", f"not asked: {pod.skipped}")]
    return [(*head, a.plugin, f"{a.seconds * 1000:.0f} ms", _result(a)) for a in pod.answers]


def _result(answer: admin.PodCheck.Answer) -> str:
    return " ".join(answer.error.split()) or (f"ok: {answer.note}" if answer.note else "ok")


def _facts(pod: admin.PodCheck) -> object:
    return {
        "id": pod.pod_sandbox_id,
        "pod": pod.pod,
        "network": pod.network or None,
        "answers": [
            {"plugin": a.plugin, "error": a.error or None, "note": a.note or None, "seconds": a.seconds}
            for a in pod.answers
        ],
        "skipped": pod.skipped or None,
        "at": pod.at,
    }
