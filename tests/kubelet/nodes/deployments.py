"""Deployments on several nodes, and where their pods are."""

import json
from typing import Any, NamedTuple

from tests.kubelet.shapes import pod, shell
from tests.support.kubelet.nodes import Nodes

IDLE = "trap 'exit 0' TERM; sleep 1000000 & wait"
SERVE = "mkdir /w; hostname >/w/index.html; httpd -p 8080 -h /w; " + IDLE  # a pod that tells its name


class Pod(NamedTuple):
    name: str
    node: str
    addresses: list[str]
    container: str  # id of the only one
    restarts: int
    ready: bool


def apply(nodes: Nodes, kind: str, name: str, spec: dict[str, Any], version: str = "v1") -> None:
    document = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
    nodes.kubectl("apply", "-f", "-", stdin=json.dumps(document))


def deploy(nodes: Nodes, name: str, replicas: int, script: str = IDLE, **fields: Any) -> None:
    """Apply a Deployment and wait until all of it is there. fields: of the pods' spec."""
    main = shell(script)
    if "resourceClaims" in fields:
        main["resources"] = {"claims": [{"name": one["name"]} for one in fields["resourceClaims"]]}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod(main, terminationGracePeriodSeconds=2, **fields)}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    apply(nodes, "Deployment", name, spec, "apps/v1")
    rolled_out(nodes, name)


def rolled_out(nodes: Nodes, name: str) -> None:
    nodes.kubectl("rollout", "status", f"deployment/{name}", "--timeout=150s")


def pods(nodes: Nodes, name: str) -> list[Pod]:
    """The pods of a Deployment that are not being deleted."""
    items = json.loads(nodes.kubectl("get", "pods", "-l", f"app={name}", "-o", "json"))["items"]
    return [_pod(item) for item in items if "deletionTimestamp" not in item["metadata"]]


def _pod(item: dict[str, Any]) -> Pod:
    status = item["status"]
    main: dict[str, Any] = (status.get("containerStatuses") or [{}])[0]
    return Pod(
        item["metadata"]["name"],
        item["spec"].get("nodeName", ""),
        [entry["ip"] for entry in status.get("podIPs", [])],
        main.get("containerID", ""),
        main.get("restartCount", 0),
        any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", [])),
    )


def ask(nodes: Nodes, client: Pod, address: str) -> str:
    """What a pod that serves at an address tells another pod."""
    script = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc {address} 8080 | tail -n 1"
    return nodes.kubectl("exec", client.name, "--", "sh", "-c", script, check=False).strip()
