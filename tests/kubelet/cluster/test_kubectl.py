"""What one does with kubectl to one pod, on a node that runs crishim."""

import json
import os
import signal
import socket
import subprocess
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.kubelet.cluster.groups import usage
from tests.kubelet.cluster.objects import IDLE, container, run
from tests.kubelet.cluster.terminal import Terminal
from tests.kubelet.shapes import pod, shell
from tests.support.daemon import IMAGE
from tests.support.kubelet.cluster import Cluster
from tests.support.kubelet.control_plane import patiently

pytestmark = pytest.mark.node


def test_run_exec_and_its_exit_code(cluster: Cluster) -> None:
    """kubectl run; exec with output, with 100 kB of input, with an exit code."""
    cluster.kubectl("run", "one", f"--image={IMAGE}", "--image-pull-policy=Never", "--command", "--", "sleep", "10000")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=120s")
    assert cluster.kubectl("exec", "one", "--", "echo", "hi") == "hi\n"
    assert cluster.kubectl("exec", "-i", "one", "--", "wc", "-c", stdin="x" * 100000).strip() == "100000"
    command = cluster.control.command("exec", "one", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert "err\n" in done.stderr
    cluster.kubectl("delete", "pod", "one", "--grace-period=1")  # sleep, as process 1, does not hear TERM


def test_exec_on_a_terminal(cluster: Cluster) -> None:
    """exec -it: the terminal's size and its changes, ^C to what runs there, the shell's exit code."""
    run(cluster, "term", pod(shell(IDLE)))
    command = cluster.control.command("exec", "-it", "term", "--", "sh")
    terminal = Terminal(*command, rows=41, columns=101)
    try:
        terminal.type("stty size\r")
        terminal.expect("41 101")
        terminal.resize(33, 77)

        def resized() -> bool:
            terminal.type("stty size; echo $((20+1)) asked\r")
            terminal.expect("21 asked")  # the echo of what was typed has no 21
            return "33 77" in cluster.kubectl("exec", "term", "--", "sh", "-c", "stty size </dev/pts/0")

        patiently(resized, "the new size arrives", 60)
        terminal.type("echo $((40+1)) runs; sleep 5000\r")
        terminal.expect("41 runs")
        patiently(lambda: "sleep 5000" in cluster.kubectl("exec", "term", "--", "ps"), "it sleeps", 60)
        terminal.type("\x03")
        terminal.type("echo ended with $?\r")
        terminal.expect("ended with 130")
        terminal.type("exit 7\r")
        assert terminal.end() == 7
    finally:
        terminal.close()


def test_attach(cluster: Cluster) -> None:
    """attach -it to a shell on a terminal: it answers, and stays when the client goes; attach -i without a terminal."""
    run(
        cluster,
        "shell",
        pod({**shell(), "command": ["sh"], "stdin": True, "tty": True}, terminationGracePeriodSeconds=1),
    )
    terminal = Terminal(*cluster.control.command("attach", "-it", "shell"))
    try:
        terminal.type("echo $((40+2)) here\r")
        terminal.expect("42 here")
    finally:
        terminal.close()
    assert container(cluster, "shell")["state"].get("running")
    run(cluster, "reads", pod(shell("while read -r line; do echo got $line; done", stdin=True)))
    attached = subprocess.Popen(
        cluster.control.command("attach", "-i", "reads"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert attached.stdin
    assert attached.stdout
    try:
        attached.stdin.write("hello\n")
        attached.stdin.flush()
        assert attached.stdout.readline() == "got hello\n"
    finally:
        attached.kill()
        attached.communicate()
    patiently(lambda: "got hello\n" in cluster.kubectl("logs", "reads"), "it is in the log, too", 30)


def test_logs_follow_to_the_end(cluster: Cluster) -> None:
    """logs -f has what was written before it, what is written meanwhile, and ends with the container."""
    script = "seq 1 500; until [ -e /go ]; do sleep 0.1; done; seq 501 1000; exit 3"
    run(cluster, "writes", pod(shell(script), restartPolicy="Never"))
    follower = subprocess.Popen(cluster.control.command("logs", "-f", "writes"), stdout=subprocess.PIPE, text=True)
    assert follower.stdout
    try:
        first = [follower.stdout.readline() for _ in range(500)]
        cluster.kubectl("exec", "writes", "--", "touch", "/go")
        rest, _ = follower.communicate(timeout=60)
    finally:
        follower.kill()
        follower.wait(10)
    assert ("".join(first) + rest).split() == [str(number) for number in range(1, 1001)]
    assert follower.returncode == 0
    assert cluster.kubectl("logs", "writes", "--tail=2") == "999\n1000\n"
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/writes", "--timeout=60s")
    assert container(cluster, "writes")["state"]["terminated"]["exitCode"] == 3


def test_cp_both_ways(cluster: Cluster, tmp_path: Path) -> None:
    """cp of 4 MB into the pod and back, and of a directory."""
    run(cluster, "copies", pod(shell(IDLE)))
    (tmp_path / "file").write_bytes(os.urandom(4 << 20))
    cluster.kubectl("cp", str(tmp_path / "file"), "copies:/tmp/file")
    cluster.kubectl("cp", "copies:/tmp/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()
    (tmp_path / "tree/below").mkdir(parents=True)
    for name in ("a", "below/b"):
        (tmp_path / "tree" / name).write_text(name)
    cluster.kubectl("cp", str(tmp_path / "tree"), "copies:/tmp/tree")
    assert cluster.kubectl("exec", "copies", "--", "cat", "/tmp/tree/a", "/tmp/tree/below/b") == "abelow/b"


def test_port_forward(cluster: Cluster) -> None:
    """port-forward: twenty requests, eight at a time."""
    web = shell("mkdir /w; head -c 200000 /dev/zero >/w/file; exec httpd -f -p 8080 -h /w", "web")
    web["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    run(cluster, "web", pod(web, terminationGracePeriodSeconds=1))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = cluster.control.command("port-forward", "pod/web", f"{port}:8080")
    forward = subprocess.Popen(command, stdout=subprocess.PIPE)

    def fetch(_: int) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/file", timeout=60) as answer:
            return len(answer.read())

    try:
        assert forward.stdout
        assert b"Forwarding from" in forward.stdout.readline()
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(fetch, range(20))) == [200000] * 20
    finally:
        forward.send_signal(signal.SIGINT)
        forward.communicate()


def test_debug_with_an_ephemeral_container(cluster: Cluster) -> None:
    """kubectl debug --target: the ephemeral container sees the target's processes; the pod goes on."""
    run(cluster, "sick", pod(shell(f"sleep 4711 & {IDLE}")))
    cluster.kubectl("debug", "sick", f"--image={IMAGE}", "--image-pull-policy=Never", "--target=main",
                    "--container=doctor", "--", "sh", "-c", "ps; exit 5")  # fmt: skip
    ended = "jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}"
    patiently(lambda: cluster.kubectl("get", "pod", "sick", "-o", ended) == "5", "the doctor's exit code", 60)
    assert "sleep 4711" in cluster.kubectl("logs", "sick", "-c", "doctor")
    found = container(cluster, "sick")
    assert (found["ready"], found["restartCount"]) == (True, 0)


def test_what_top_reads(cluster: Cluster) -> None:
    """CPU and memory of a pod, from the kubelet through the API server, are those of its cgroup."""
    script = "head -c 30000000 /dev/zero >/dev/shm/held; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; touch /done"
    run(cluster, "busy", pod(shell(f"{script}; {IDLE}")))
    patiently(lambda: cluster.kubectl("exec", "busy", "--", "ls", "/done", check=False) != "", "it did its work", 100)
    identity = container(cluster, "busy")["containerID"].removeprefix("crishim://")
    used = usage(identity)
    proxy = "/api/v1/nodes/node/proxy"

    def fresh() -> dict[str, float]:
        """CPU in seconds and memory in bytes, once they are newer than what was read of the cgroup."""
        pods = json.loads(cluster.kubectl("get", "--raw", f"{proxy}/stats/summary"))["pods"]
        main = next(c for p in pods if p["podRef"]["name"] == "busy" for c in p["containers"])
        found = {"cpu": main["cpu"]["usageCoreNanoSeconds"] / 1e9, "memory": main["memory"]["workingSetBytes"]}
        return found if found["cpu"] >= used.cpu else {}

    shown = patiently(fresh, f"the summary has at least {used}", 60)
    after = usage(identity)
    assert used.cpu <= shown["cpu"] <= after.cpu
    assert 30_000_000 <= shown["memory"] <= max(used.memory, after.memory) + (8 << 20)

    def sampled(metric: str) -> float:
        text = cluster.kubectl("get", "--raw", f"{proxy}/metrics/resource")
        return sum(float(line.split()[1]) for line in text.splitlines()
                   if line.startswith(f"{metric}{{") and 'pod="busy"' in line)  # fmt: skip

    def reaches(metric: str, least: float) -> bool:
        return sampled(metric) >= least

    for metric, least in (
        ("container_cpu_usage_seconds_total", used.cpu),
        ("pod_cpu_usage_seconds_total", used.cpu),
        ("container_memory_working_set_bytes", 30_000_000),
        ("pod_memory_working_set_bytes", 30_000_000),
    ):
        patiently(partial(reaches, metric, least), f"{metric} is at least {least}", 60)
