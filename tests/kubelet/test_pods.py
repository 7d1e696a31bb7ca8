"""What every static pod relies on: containers in order, probes, restarts, ends, and what is told about them."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.kubelet.shapes import SLEEP, pod, shell
from tests.support.daemon import IMAGE, eventually
from tests.support.daemon import test_program as program
from tests.support.kubelet.node import SIGNALLED, Node, container_status, restarts

pytestmark = pytest.mark.node


def test_a_pod_becomes_ready_and_goes(node: Node) -> None:
    """A pod is Ready with the addresses CNI gave it. That nothing of it is left is looked at after every test."""
    before = node.left()
    found = node.run("simple", pod())
    addresses = [ip["ip"] for ip in found["status"]["podIPs"]]
    assert [a[:6] for a in addresses] == ["10.231", "fd31::"]
    assert found["status"]["podIP"] == addresses[0]
    status = container_status(found, "main")
    assert status["containerID"].startswith("crishim://")
    assert status["image"] == IMAGE
    assert status["imageID"]
    assert restarts(found) == 0
    assert node.left()["cgroups"] > before["cgroups"]


def test_init_containers_run_in_order_before_the_others(node: Node) -> None:
    """Two init containers, then a sidecar that stays, then the main container: each sees what was before it."""
    volume: dict[str, Any] = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    say = "echo {0} >>/v/order"
    side = shell(f"{say.format('sidecar')}; {SLEEP}", "side", restartPolicy="Always", **volume)
    side["startupProbe"] = {"exec": {"command": ["test", "-e", "/v/order"]}, "periodSeconds": 1}
    inits = [shell(say.format("one"), "one", **volume), shell(say.format("two"), "two", **volume), side]
    main = shell(f"{say.format('main')}; {SLEEP}", **volume)
    found = node.run("inits", pod(main, initContainers=inits, volumes=[{"name": "v", "emptyDir": {}}]))
    assert node.execute("inits", "main", "cat", "/v/order").split() == ["one", "two", "sidecar", "main"]
    one = container_status(found, "one", "initContainerStatuses")
    assert one["state"]["terminated"]["reason"] == "Completed"
    assert container_status(found, "side", "initContainerStatuses")["state"].get("running")


def test_sidecars_start_in_order_and_outlive_the_others(node: Node, tmp_path: Path) -> None:
    """Each has started before the next one starts; at the end the main container goes first, then they in reverse."""
    script = "trap 'sleep 0.3; echo -{0} >>/v/order; exit 0' TERM; echo +{0} >>/v/order; touch /tmp/up; "
    script += "while :; do sleep 0.1; done"
    volume: dict[str, Any] = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    up = {"startupProbe": {"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1}}
    sides = [shell(script.format(n), n, restartPolicy="Always", **volume, **up) for n in ("one", "two")]
    spec = pod(shell(script.format("main"), **volume), initContainers=sides, terminationGracePeriodSeconds=30)
    node.run("sidecars", spec | {"volumes": [{"name": "v", "hostPath": {"path": str(tmp_path)}}]})
    assert (tmp_path / "order").read_text().split() == ["+one", "+two", "+main"]
    node.remove("sidecars")
    assert (tmp_path / "order").read_text().split()[3:] == ["-main", "-two", "-one"]


def test_probes_of_every_kind(node: Node) -> None:
    """exec, HTTP and TCP probes reach their container, and a failing liveness probe restarts it."""
    web = shell("mkdir /w; echo ok >/w/ok; exec httpd -f -p 8080 -h /w", "web")
    web["readinessProbe"] = {"httpGet": {"path": "/ok", "port": 8080}, "periodSeconds": 1}
    web["livenessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    sick = shell(f"touch /tmp/well; {SLEEP}", "sick")
    sick["livenessProbe"] = {
        "exec": {"command": ["test", "-e", "/tmp/well"]},
        "periodSeconds": 1,
        "failureThreshold": 2,
    }
    found = node.run("probes", pod(web, sick))
    assert restarts(found) == 0
    node.execute("probes", "sick", "rm", "/tmp/well")
    node.wait("probes", lambda p: container_status(p, "sick")["restartCount"] == 1, "sick is restarted", 30)
    assert container_status(node.ready("probes"), "web")["restartCount"] == 0


def test_a_grpc_probe(node: Node) -> None:
    """A health check over gRPC makes the pod Ready; one that says NOT_SERVING takes it out, then restarts it."""
    volumes = [{"name": "p", "hostPath": {"path": str(Path(program("grpc-health")).resolve()), "type": "File"}}]
    mounts = [{"name": "p", "mountPath": "/grpc-health", "readOnly": True}]
    main = shell("exec /grpc-health --port=5000 --http-port=8080 --service=good", volumeMounts=mounts)
    main["readinessProbe"] = {"grpc": {"port": 5000, "service": "good"}, "periodSeconds": 1, "failureThreshold": 1}
    main["livenessProbe"] = {"grpc": {"port": 5000, "service": "good"}, "periodSeconds": 1, "failureThreshold": 4}
    other = shell("exec /grpc-health --port=5001 --http-port=8081 --service=good", "other", volumeMounts=mounts)
    other["readinessProbe"] = {"grpc": {"port": 5001, "service": "unknown"}, "periodSeconds": 1}
    node.run("grpc", pod(main, volumes=volumes))
    assert restarts(node.pod("grpc")) == 0
    node.execute("grpc", "main", "wget", "-q", "-O-", "http://127.0.0.1:8080/make-not-serving")
    node.wait("grpc", lambda p: not container_status(p, "main")["ready"], "is not ready any more", 30)
    node.wait("grpc", lambda p: restarts(p) == 1, "is restarted", 40)
    assert restarts(node.ready("grpc")) == 1
    node.put("grpc-other", pod(other, volumes=volumes))
    eventually(lambda: node.events("grpc-other", "Readiness probe failed"), "the probe's failure is reported", 40)
    assert not container_status(node.pod("grpc-other"), "other")["ready"]


def test_a_readiness_probe_that_fails_takes_the_pod_out(node: Node) -> None:
    """A pod is not Ready while its exec probe fails, and Ready again after; its container goes on running."""
    main = shell(f"touch /tmp/well; {SLEEP}")
    main["readinessProbe"] = {
        "exec": {"command": ["test", "-e", "/tmp/well"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    node.run("ready", pod(main))
    node.execute("ready", "main", "rm", "/tmp/well")
    node.wait("ready", lambda p: not container_status(p, "main")["ready"], "is not ready any more", 20)
    node.execute("ready", "main", "touch", "/tmp/well")
    assert restarts(node.ready("ready")) == 0


def test_restarts_are_counted_across_restarts_of_kubelet_and_daemon(node: Node) -> None:
    """A container that ends is restarted with back-off; its count goes on where it was after both were restarted."""
    found = node.run("again", pod(shell("sleep 2; exit 3")))
    found = node.wait("again", lambda p: restarts(p) >= 2, "was restarted twice", 40)
    last = container_status(found, "main")["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (3, "Error")
    node.wait("again", lambda p: "CrashLoopBackOff" in json.dumps(p["status"]), "is backed off", 40)
    counted = restarts(node.pod("again"))
    node.daemon.kill()
    node.kubelet.kill()
    node.daemon.start()
    node.kubelet.start()
    found = node.wait("again", lambda p: restarts(p) > counted, "is restarted again", 60)
    assert restarts(found) <= counted + 2


def test_termination_message_from_the_file_and_from_the_log(node: Node) -> None:
    """What a container wrote to its message file, or the end of its log where it failed without, is in its status."""
    said = shell("echo -n the file >/dev/termination-log; exit 0", "said")
    fallback = shell("echo the log; exit 1", "fallback", terminationMessagePolicy="FallbackToLogsOnError")
    node.put("message", pod(said, fallback, restartPolicy="Never"))
    found = node.wait("message", lambda p: p["status"]["phase"] == "Failed", "has failed")
    assert container_status(found, "said")["state"]["terminated"]["message"] == "the file"
    assert container_status(found, "fallback")["state"]["terminated"]["message"] == "the log\n"


def test_oom_kill_is_reported(node: Node) -> None:
    """A container over its memory limit ends with reason OOMKilled and exit code 137."""
    main = shell("exec tail /dev/zero", resources={"limits": {"memory": "20Mi"}})
    node.put("oom", pod(main, restartPolicy="Never"))
    found = node.wait("oom", lambda p: p["status"]["phase"] == "Failed", "has failed")
    ended = container_status(found, "main")["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


@pytest.mark.parametrize(("image", "fields", "signal"), [
    ("", {}, "TERM"),
    (SIGNALLED, {}, "USR1"),
    ("", {"lifecycle": {"stopSignal": "SIGUSR2"}}, "USR2"),
])  # fmt: skip
def test_a_pod_is_ended_by_its_stop_signal(
    node: Node, tmp_path: Path, image: str, fields: dict[str, Any], signal: str
) -> None:
    """SIGTERM, the image's signal or the pod's: the container's handler runs to its end within the grace period."""
    script = "".join(f"trap 'echo {s} >/v/got; exit 0' {s}\n" for s in ("TERM", "USR1", "USR2"))
    main = shell(f"{script} while :; do sleep 0.1; done", volumeMounts=[{"name": "v", "mountPath": "/v"}], **fields)
    main["image"] = image or main["image"]
    volumes = [{"name": "v", "hostPath": {"path": str(tmp_path)}}]
    os_name = {"os": {"name": "linux"}}  # the API wants it beside stopSignal
    name = f"signal-{signal.lower()}"
    node.run(name, pod(main, volumes=volumes, terminationGracePeriodSeconds=20, **os_name))
    node.remove(name)
    assert (tmp_path / "got").read_text().strip() == signal


def test_hooks_run_after_the_start_and_before_the_end(node: Node, tmp_path: Path) -> None:
    """postStart is over before the container counts as running; preStop runs before the stop signal."""
    hooks = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo post >>/v/hooks"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo pre >>/v/hooks"]}},
    }
    script = "trap 'echo term >>/v/hooks; exit 0' TERM; while :; do sleep 0.1; done"
    main = shell(script, volumeMounts=[{"name": "v", "mountPath": "/v"}], lifecycle=hooks)
    volumes = [{"name": "v", "hostPath": {"path": str(tmp_path)}}]
    node.run("hooks", pod(main, volumes=volumes, terminationGracePeriodSeconds=30))
    assert (tmp_path / "hooks").read_text().split() == ["post"]
    node.remove("hooks")
    assert (tmp_path / "hooks").read_text().split() == ["post", "pre", "term"]


def test_a_host_port_leads_into_the_pod(node: Node) -> None:
    """A connection to the node's port arrives in the pod."""
    web = shell("mkdir /w; echo from the pod >/w/index.html; exec httpd -f -p 80 -h /w", "web")
    web["ports"] = [{"containerPort": 80, "hostPort": 18080}]
    web["readinessProbe"] = {"tcpSocket": {"port": 80}, "periodSeconds": 1}
    node.run("hostport", pod(web))
    with urllib.request.urlopen("http://10.230.0.2:18080/", timeout=5) as answer:
        assert answer.read() == b"from the pod\n"
