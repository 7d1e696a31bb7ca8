"""`crishim events`: print the lifecycle events of pods and containers, a line each, until Ctrl-C."""

import datetime
import json
import sys

from crishim.cli.client import fail, plain
from crishim.cli.cri_client import connect_cri
from crishim.config import Config
from crishim.errors import CrishimError
from crishim.pb import cri_pb2 as cri

WORDS = {
    cri.CONTAINER_CREATED_EVENT: "created",
    cri.CONTAINER_STARTED_EVENT: "started",
    cri.CONTAINER_STOPPED_EVENT: "stopped",
    cri.CONTAINER_DELETED_EVENT: "removed",
}


def follow(config: Config, *, as_json: bool) -> int:
    """Print events until Ctrl-C, or until the daemon exits, which is a failure; returns the exit status."""
    try:
        with connect_cri(config) as client:
            for event in client.stream("GetContainerEvents", cri.GetEventsRequest(), cri.ContainerEventResponse):
                sys.stdout.write((json.dumps(facts(event)) if as_json else line(event)) + "\n")
                sys.stdout.flush()
    except CrishimError as error:
        return fail(error.message)
    except KeyboardInterrupt:
        return 0
    return fail("the daemon has ended")


def facts(event: cri.ContainerEventResponse) -> dict[str, object]:
    """One event as JSON-ready values. CRI sends them for pods too, with the pod's id as container_id."""
    pod = event.pod_sandbox_status
    is_pod = event.container_id == pod.id
    container = next((c for c in event.containers_statuses if c.id == event.container_id), None)
    found: dict[str, object] = {
        "at": _time(event.created_at),
        "event": WORDS.get(event.container_event_type, str(event.container_event_type)),
        "kind": "pod" if is_pod else "container",
        "id": event.container_id,
        "pod": f"{pod.metadata.namespace}/{pod.metadata.name}" if pod.id else None,
        "pod_id": pod.id or None,
    }
    if container is not None:
        found["container"] = container.metadata.name
        if container.state == cri.CONTAINER_EXITED:
            found |= {"exit_code": container.exit_code, "reason": container.reason}
    return found


def line(event: cri.ContainerEventResponse) -> str:
    """One event as a line of text: time, event, pod or container, and the exit code and reason of a container."""
    found = facts(event)
    words = [str(found["at"]), f"{found['event']:7}", str(found["kind"]), str(found["id"])[:13]]
    words += [str(found["container"])] if "container" in found else []
    if found["kind"] == "pod":
        words.append(str(found["pod"]))
    elif found["pod"]:
        words.append(f"of pod {found['pod']}")
    if "exit_code" in found:
        words.append(f"exit code {found['exit_code']} ({found['reason']})")
    return plain(" ".join(words))


def _time(nanoseconds: int) -> str:
    when = datetime.datetime.fromtimestamp(nanoseconds / 1e9, datetime.UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
