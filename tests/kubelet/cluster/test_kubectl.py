"""What one does with kubectl, on a node that runs crishim."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from crishim.wire.linux import cgroups
from hack.kubelet.cluster import Cluster
from tests.kubelet.shapes import SLEEP, pod, shell
from tests.node.daemon import IMAGE, eventually
from tests.node.daemon import test_program as program

pytestmark = pytest.mark.node


def manifest(kind: str, name: str, spec: dict[str, Any], version: str = "v1", **more: Any) -> str:
    return json.dumps({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec, **more})


def run(cluster: Cluster, name: str, spec: dict[str, Any]) -> None:
    """Apply a pod and wait until it is Ready."""
    cluster.kubectl("apply", "-f", "-", stdin=manifest("Pod", name, {"terminationGracePeriodSeconds": 3, **spec}))
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def test_run_logs_exec_attach_cp(cluster: Cluster, tmp_path: Path) -> None:
    """kubectl run, logs, exec with a terminal and an exit code, cp in both directions, attach."""
    kubectl = cluster.kubectl
    kubectl("run", "one", f"--image={IMAGE}", "--image-pull-policy=Never", "--stdin", "--attach=false",
            "--command", "--",
            "sh", "-c", "echo started; while read -r line; do echo got $line; done; sleep 1000")  # fmt: skip
    kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=60s")
    assert kubectl("logs", "one") == "started\n"
    assert kubectl("exec", "one", "--", "echo", "hi") == "hi\n"
    command = [program("kubectl"), f"--kubeconfig={cluster.control.kubeconfig()}"]
    assert subprocess.run([*command, "exec", "one", "--", "sh", "-c", "exit 7"], capture_output=True).returncode == 7
    assert kubectl("exec", "-i", "one", "--", "wc", "-c", stdin="x" * 100000).strip() == "100000"
    (tmp_path / "file").write_bytes(os.urandom(1 << 20))
    kubectl("cp", str(tmp_path / "file"), "one:/tmp/file")
    kubectl("cp", "one:/tmp/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()
    attached = subprocess.Popen([*command, "attach", "-i", "one"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert attached.stdin
    attached.stdin.write(b"hello\n")
    attached.stdin.flush()
    eventually(lambda: "got hello" in kubectl("logs", "one"), "what was written has arrived")
    attached.kill()
    attached.communicate()


def test_port_forward(cluster: Cluster) -> None:
    """kubectl port-forward: ten requests, at the same time and one after the other."""
    web = shell("mkdir /w; echo from the pod >/w/index.html; exec httpd -f -p 8080 -h /w", "web")
    web["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    run(cluster, "web", pod(web))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program("kubectl"), f"--kubeconfig={cluster.control.kubeconfig()}", "port-forward", "pod/web"]
    forward = subprocess.Popen([*command, f"{port}:8080"], stdout=subprocess.PIPE)
    try:
        assert forward.stdout
        forward.stdout.readline()
        for _ in range(10):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                assert answer.read() == b"from the pod\n"
    finally:
        forward.send_signal(signal.SIGINT)
        forward.communicate()


def test_debug_with_an_ephemeral_container(cluster: Cluster) -> None:
    """kubectl debug --target: the ephemeral container sees the target's processes."""
    run(cluster, "sick", pod(shell("exec sleep 4711")))
    cluster.kubectl("debug", "sick", f"--image={IMAGE}", "--image-pull-policy=Never", "--target=main",
                    "--container=doctor", "--", "sh", "-c", "ps; sleep 1000")  # fmt: skip
    eventually(lambda: "sleep 4711" in cluster.kubectl("logs", "sick", "-c", "doctor", check=False), "ps was run", 30)


def deployment(version: str) -> str:
    template = {
        "metadata": {"labels": {"app": "ten"}},
        "spec": {"terminationGracePeriodSeconds": 1, **pod(shell(f"echo {version}; {SLEEP}"))},
    }
    spec = {"replicas": 10, "selector": {"matchLabels": {"app": "ten"}}, "template": template}
    return manifest("Deployment", "ten", spec, "apps/v1")


def test_a_deployment_rolls(cluster: Cluster) -> None:
    """Ten replicas, then ten of the next version, and none of the first."""
    for version in ("one", "two"):
        cluster.kubectl("apply", "-f", "-", stdin=deployment(version))
        cluster.kubectl("rollout", "status", "deployment/ten", "--timeout=100s")
    eventually(lambda: len(cluster.kubectl("get", "pods", "-l", "app=ten", "-o", "name").split()) == 10, "ten left", 60)
    assert cluster.kubectl("logs", "-l", "app=ten", "--tail=1").split() == ["two"] * 10
    cluster.kubectl("delete", "deployment", "ten", "--wait")


def test_a_job_completes(cluster: Cluster) -> None:
    """A Job of three completions, two at a time."""
    template = {"spec": {"restartPolicy": "Never", **pod(shell("sleep 0.2; echo done"))}}
    spec = {"completions": 3, "parallelism": 2, "template": template}
    cluster.kubectl("apply", "-f", "-", stdin=manifest("Job", "job", spec, "batch/v1"))
    cluster.kubectl("wait", "--for=condition=Complete", "job/job", "--timeout=60s")


def test_volumes_of_the_api(cluster: Cluster) -> None:
    """ConfigMap, Secret, projected and downward-API volumes; a change of the ConfigMap arrives in the running pod."""
    cluster.kubectl("create", "configmap", "settings", "--from-literal=key=old")
    cluster.kubectl("create", "secret", "generic", "hidden", "--from-literal=key=secret")
    downward = {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}
    volumes = [
        {"name": "c", "configMap": {"name": "settings"}},
        {"name": "s", "secret": {"secretName": "hidden"}},
        {"name": "p", "projected": {"sources": [{"configMap": {"name": "settings"}}, downward]}},
    ]
    main = shell(volumeMounts=[{"name": n, "mountPath": f"/{n}"} for n in "csp"])
    run(cluster, "volumes", pod(main, volumes=volumes))
    shown = cluster.kubectl("exec", "volumes", "--", "cat", "/c/key", "/s/key", "/p/key", "/p/name")
    assert shown == "oldsecretoldvolumes"
    token = cluster.kubectl("exec", "volumes", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token")
    assert token.count(".") == 2
    cluster.kubectl("patch", "configmap", "settings", "-p", '{"data":{"key":"new"}}')
    read = ("exec", "volumes", "--", "cat", "/c/key")
    eventually(lambda: cluster.kubectl(*read) == "new", "the change arrives", 90)


def test_resize_in_place(cluster: Cluster) -> None:
    """CPU and memory limits of a running container change in its cgroup, without a restart."""
    resources = {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
    run(cluster, "grows", pod(shell(resources=resources)))
    container = cluster.kubectl("get", "pod", "grows", "-o", "jsonpath={.status.containerStatuses[0].containerID}")
    limits = {"limits": {"cpu": "400m", "memory": "128Mi"}, "requests": {"cpu": "100m", "memory": "32Mi"}}
    patch = {"spec": {"containers": [{"name": "main", "resources": limits}]}}
    cluster.kubectl("patch", "pod", "grows", "--subresource=resize", "-p", json.dumps(patch))
    want = '{"cpu":"400m","memory":"128Mi"}'
    path = "jsonpath={.status.containerStatuses[0].resources.limits}"
    eventually(lambda: cluster.kubectl("get", "pod", "grows", "-o", path) == want, "the resize is reported", 60)
    identity = container.removeprefix("crishim://")
    directories = [d for top in cgroups.hierarchies().values() for d in top.rglob(f"*{identity}*")]
    read = {f.name: f.read_text().strip() for d in directories for f in (*d.glob("cpu.*"), *d.glob("memory.l*"))
            if f.name in ("cpu.cfs_quota_us", "memory.limit_in_bytes")}  # fmt: skip
    if cgroups.version() == 1:
        assert read == {"cpu.cfs_quota_us": "40000", "memory.limit_in_bytes": str(128 << 20)}
    state = json.loads(cluster.kubectl("get", "pod", "grows", "-o", "json"))["status"]["containerStatuses"][0]
    assert (state["restartCount"], state["containerID"]) == (0, container)


def test_runtime_classes(cluster: Cluster) -> None:
    """A RuntimeClass names a handler; an unknown handler is an event that names it."""
    for name, handler in (("with-runc", "runc"), ("with-none", "no-such-handler")):
        document = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}}
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document | {"handler": handler}))
    run(cluster, "runc", pod(runtimeClassName="with-runc"))
    cluster.kubectl("apply", "-f", "-", stdin=manifest("Pod", "none", pod(runtimeClassName="with-none")))
    told = ("get", "events", "--field-selector=involvedObject.name=none", "-o", "jsonpath={.items[*].message}")
    eventually(lambda: "no-such-handler" in cluster.kubectl(*told), "the event names the handler", 30)
    cluster.kubectl("delete", "pod", "none", "--wait")


def test_eviction_by_ephemeral_storage(cluster: Cluster) -> None:
    """A pod whose writable layer goes over its limit of ephemeral storage is evicted, and the event says so."""
    resources = {"limits": {"ephemeral-storage": "8Mi"}}
    script = f"sleep 1; head -c 20000000 /dev/zero >/filled; {SLEEP}"
    cluster.kubectl("apply", "-f", "-", stdin=manifest("Pod", "fills", pod(shell(script, resources=resources))))
    selector = "--field-selector=involvedObject.name=fills,reason=Evicted"
    read = ("get", "events", selector, "-o", "jsonpath={.items[*].message}")
    eventually(lambda: "ephemeral local storage usage exceeds" in cluster.kubectl(*read), "it is evicted", 60)
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/fills", "--timeout=30s")


def test_deletion_with_grace(cluster: Cluster) -> None:
    """A pod that ignores its stop signal is killed at the end of its grace period, not before."""
    run(cluster, "stubborn", pod(shell("trap '' TERM; while :; do sleep 0.1; done"), terminationGracePeriodSeconds=3))
    started = time.monotonic()
    cluster.kubectl("delete", "pod", "stubborn", "--wait")
    assert 3 <= time.monotonic() - started < 15


def test_a_drain_empties_the_node(cluster: Cluster) -> None:
    """kubectl drain ends every pod; uncordon lets new ones in."""
    run(cluster, "drained", pod())
    cluster.kubectl("drain", "node", "--force", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=100s")
    assert cluster.kubectl("get", "pods", "--field-selector=status.phase=Running", "-o", "name") == ""
    cluster.kubectl("uncordon", "node")
    run(cluster, "back", pod())
