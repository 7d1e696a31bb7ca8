"""What the controllers, the scheduler and the API server do with a node that runs crishim."""

import json
import time
from typing import Any

import pytest

from tests.kubelet.cluster.groups import Limits, limits
from tests.kubelet.cluster.objects import IDLE, apply, container, put, run, status, told
from tests.kubelet.shapes import pod, shell
from tests.support.kubelet.cluster import Cluster
from tests.support.kubelet.control_plane import patiently

pytestmark = pytest.mark.node


def deploy(cluster: Cluster, version: str) -> set[str]:
    """Ten replicas of a version, rolled out; the uids of its pods."""
    spec = pod(shell(f"echo {version}; {IDLE}"), terminationGracePeriodSeconds=2)
    template = {"metadata": {"labels": {"app": "ten", "version": version}}, "spec": spec}
    labels = {"matchLabels": {"app": "ten"}}
    apply(cluster, "Deployment", "ten", {"replicas": 10, "selector": labels, "template": template}, "apps/v1")
    cluster.kubectl("rollout", "status", "deployment/ten", "--timeout=250s")
    mine = ("get", "pods", "-l", f"version={version}", "-o", "jsonpath={.items[*].metadata.uid}")
    return set(cluster.kubectl(*mine).split())


def test_a_deployment_rolls(cluster: Cluster) -> None:
    """Ten replicas, then ten of the next version, and none of the first."""
    first, second = deploy(cluster, "one"), deploy(cluster, "two")
    assert (len(first), len(second), first & second) == (10, 10, set())
    running = ("get", "pods", "-l", "app=ten", "-o", "jsonpath={.items[*].metadata.uid}")
    patiently(lambda: set(cluster.kubectl(*running).split()) == second, "only the second ten are left", 100)
    assert cluster.kubectl("logs", "-l", "app=ten", "--tail=1").split() == ["two"] * 10


def test_a_job_completes(cluster: Cluster) -> None:
    """A Job of three completions, two at a time; one that fails twice is tried until its limit."""
    template = {"spec": {"restartPolicy": "Never", **pod(shell("sleep 0.2; echo done"))}}
    apply(cluster, "Job", "job", {"completions": 3, "parallelism": 2, "template": template}, "batch/v1")
    failing = {"spec": {"restartPolicy": "Never", **pod(shell("exit 9"))}}
    apply(cluster, "Job", "fails", {"backoffLimit": 1, "template": failing}, "batch/v1")
    cluster.kubectl("wait", "--for=condition=Complete", "job/job", "--timeout=100s")
    assert cluster.kubectl("logs", "-l", "job-name=job", "--tail=-1").split() == ["done"] * 3
    cluster.kubectl("wait", "--for=condition=Failed", "job/fails", "--timeout=100s")
    assert cluster.kubectl("get", "job", "fails", "-o", "jsonpath={.status.failed}") == "2"


def test_volumes_of_the_api(cluster: Cluster) -> None:
    """ConfigMap, Secret, projected and downward-API volumes; a change of the ConfigMap arrives in the running pod."""
    apply(cluster, "ConfigMap", "settings", data={"key": "old"})
    apply(cluster, "Secret", "hidden", stringData={"key": "secret"})
    name = {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}
    limit = {"path": "limit", "resourceFieldRef": {"containerName": "main", "resource": "limits.memory"}}
    sources = [
        {"configMap": {"name": "settings"}},
        {"secret": {"name": "hidden", "items": [{"key": "key", "path": "s"}]}},
    ]
    volumes = [
        {"name": "c", "configMap": {"name": "settings"}},
        {"name": "s", "secret": {"secretName": "hidden", "defaultMode": 0o400}},
        {"name": "p", "projected": {"sources": [*sources, {"downwardAPI": {"items": [name]}}]}},
        {"name": "d", "downwardAPI": {"items": [name, limit]}},
    ]
    env = [{"name": "FROM", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "key"}}}]
    mounts = [{"name": n, "mountPath": f"/{n}"} for n in "cspd"]
    main = shell(IDLE, volumeMounts=mounts, env=env, resources={"limits": {"memory": "64Mi"}})
    run(cluster, "volumes", pod(main, volumes=volumes))
    files = ("/c/key", "/s/key", "/p/key", "/p/s", "/p/name", "/d/name", "/d/limit")
    shown = cluster.kubectl("exec", "volumes", "--", "sh", "-c", f"for f in {' '.join(files)}; do cat $f; echo; done")
    assert shown.split() == ["old", "secret", "old", "secret", "volumes", "volumes", str(64 << 20)]
    shown = cluster.kubectl(
        "exec", "volumes", "--", "sh", "-c", "echo $FROM; stat -L -c %a /s/key; touch /c/new || echo ro"
    )
    assert shown.split() == ["old", "400", "ro"]
    token = cluster.kubectl("exec", "volumes", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token")
    assert token.count(".") == 2
    cluster.kubectl("patch", "configmap", "settings", "-p", '{"data":{"key":"new"}}')
    read = ("exec", "volumes", "--", "cat", "/c/key")
    patiently(lambda: cluster.kubectl(*read) == "new", "the change arrives", 150)


def resources(cpu: int, memory: int) -> dict[str, Any]:
    """Limits in milli-CPU and MiB."""
    return {"requests": {"cpu": "50m", "memory": "16Mi"}, "limits": {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}}


def test_resize_in_place(cluster: Cluster) -> None:
    """CPU and memory limits of a running container grow and shrink in its cgroup and its pod's, without a restart."""
    run(cluster, "grows", pod(shell(IDLE, resources=resources(200, 64))))
    before = container(cluster, "grows")
    identity = before["containerID"].removeprefix("crishim://")
    assert limits(identity) == limits(identity, above=1) == Limits(20000, 64 << 20)
    for cpu, memory in ((400, 128), (100, 96)):
        patch = {"spec": {"containers": [{"name": "main", "resources": resources(cpu, memory)}]}}
        cluster.kubectl("patch", "pod", "grows", "--subresource=resize", "-p", json.dumps(patch))
        want = Limits(cpu * 100, memory << 20)

        def resized(want: Limits = want) -> bool:
            return limits(identity) == limits(identity, above=1) == want

        patiently(resized, f"{want} in the cgroups", 100)
        reported = {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}

        def shown(reported: dict[str, str] = reported) -> bool:
            return bool(container(cluster, "grows").get("resources", {}).get("limits") == reported)

        patiently(shown, "the resize is reported", 100)
    after = container(cluster, "grows")
    assert (after["restartCount"], after["containerID"]) == (0, before["containerID"])


def test_runtime_classes(cluster: Cluster) -> None:
    """A RuntimeClass names a handler, and that one runs the pod; an unknown one is an event that names it."""
    for name, handler in (("with-crun", "crun"), ("with-runc", "runc"), ("with-none", "no-such-handler")):
        apply(cluster, "RuntimeClass", name, version="node.k8s.io/v1", handler=handler)
    for handler in ("crun", "runc"):
        run(cluster, handler, pod(shell(IDLE), runtimeClassName=f"with-{handler}"))
        identity = container(cluster, handler)["containerID"].removeprefix("crishim://")
        kept = [path.parent.name for path in (cluster.daemon.run / "runtime").glob(f"*/{identity}")]
        assert kept == [handler], "the runtime's own state directory"
    put(cluster, "none", pod(runtimeClassName="with-none"))
    assert "no-such-handler" in told(cluster, "none", "no-such-handler", reason="FailedCreatePodSandBox")
    assert cluster.joined()
    cluster.kubectl("delete", "runtimeclasses", "--all")


def test_eviction_by_ephemeral_storage(cluster: Cluster) -> None:
    """A pod whose writable layer goes over its limit of ephemeral storage is evicted, and the event says so."""
    limit = {"limits": {"ephemeral-storage": "8Mi"}}
    put(cluster, "fills", pod(shell(f"head -c 20000000 /dev/zero >/filled; {IDLE}", resources=limit)))
    told(cluster, "fills", "ephemeral local storage usage exceeds", "8Mi", reason="Evicted")

    def ended() -> bool:
        running = "running" in container(cluster, "fills").get("state", {})
        return not running and status(cluster, "fills")["phase"] in ("Failed", "Succeeded")

    patiently(ended, "it has ended", 100)
    assert cluster.joined()


def test_deletion_with_grace(cluster: Cluster) -> None:
    """A pod that ignores its stop signal is killed at the end of its grace period, not before; preStop runs first."""
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >/proc/1/fd/1"]}}}
    stubborn = shell("trap 'echo asked' TERM; while :; do sleep 0.2; done", lifecycle=hook)
    run(cluster, "stubborn", pod(stubborn, terminationGracePeriodSeconds=4))
    cluster.kubectl("delete", "pod", "stubborn", "--wait=false")
    started = time.monotonic()
    patiently(lambda: cluster.kubectl("logs", "stubborn", check=False).split() == ["hook", "asked"], "it is asked", 30)
    cluster.kubectl("wait", "--for=delete", "pod/stubborn", "--timeout=100s")
    assert time.monotonic() - started >= 3


def test_a_drain_empties_the_node(cluster: Cluster) -> None:
    """kubectl drain ends every pod, and its replacement waits; uncordon lets it in."""
    template = {"metadata": {"labels": {"app": "moves"}}, "spec": pod(shell(IDLE), terminationGracePeriodSeconds=2)}
    labels = {"matchLabels": {"app": "moves"}}
    apply(cluster, "Deployment", "moves", {"replicas": 2, "selector": labels, "template": template}, "apps/v1")
    cluster.kubectl("rollout", "status", "deployment/moves", "--timeout=120s")
    run(cluster, "drained", pod(shell(IDLE)))
    try:
        cluster.kubectl("drain", "node", "--force", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s")
        running = ("get", "pods", "--field-selector=status.phase=Running", "-o", "name")
        assert cluster.kubectl(*running) == ""
        left = cluster.daemon.call("ListPodSandbox").items
        assert not [sandbox.metadata.name for sandbox in left if sandbox.state == 0]
    finally:
        cluster.kubectl("uncordon", "node")
    cluster.kubectl("rollout", "status", "deployment/moves", "--timeout=120s")
