"""Objects of the Kubernetes API as the tests write them, and what became of them."""

import json
from typing import Any

from tests.support.kubelet.cluster import Cluster
from tests.support.kubelet.control_plane import patiently

IDLE = "trap 'exit 0' TERM; sleep 1000000 & wait"  # ends at once when told to, and costs nothing


def apply(
    cluster: Cluster, kind: str, name: str, spec: dict[str, Any] | None = None, version: str = "v1", **more: Any
) -> None:
    document = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document if spec is None else {**document, "spec": spec}))


def put(cluster: Cluster, name: str, spec: dict[str, Any]) -> None:
    """Apply a pod."""
    apply(cluster, "Pod", name, {"terminationGracePeriodSeconds": 3, **spec})


def ready(cluster: Cluster, name: str) -> None:
    """Wait until a pod is Ready; say what happened to it if it is not."""
    wait = ("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")
    assert "condition met" in cluster.kubectl(*wait, check=False), f"{name} is not Ready: {events(cluster, name)}"


def run(cluster: Cluster, name: str, spec: dict[str, Any]) -> None:
    put(cluster, name, spec)
    ready(cluster, name)


def status(cluster: Cluster, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.kubectl("get", "pod", name, "-o", "json"))["status"]
    return found


def container(cluster: Cluster, pod: str) -> dict[str, Any]:
    """The status of a pod's first container that is no init container; {} while there is none."""
    found: dict[str, Any] = (status(cluster, pod).get("containerStatuses") or [{}])[0]
    return found


def events(cluster: Cluster, name: str, reason: str = "") -> str:
    """The messages of an object's events."""
    selector = f"--field-selector=involvedObject.name={name}" + (f",reason={reason}" if reason else "")
    return cluster.kubectl("get", "events", selector, "-o", "jsonpath={.items[*].message}")


def told(cluster: Cluster, name: str, *words: str, reason: str = "") -> str:
    """Wait for events of an object that have all these words; their text."""
    asked = f"the events of {name} have {words}"
    try:
        patiently(lambda: all(word in events(cluster, name, reason) for word in words), asked, 60)
    except AssertionError as error:
        raise AssertionError(f"{error}: {events(cluster, name)}") from None
    return events(cluster, name, reason)
