"""hack/node and hack/cluster: a test node brought up, looked at and taken down from a shell."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from crishim.linux import cgroups, mounts
from hack.kubelet import numbers
from tests.support.daemon import test_program
from tests.support.kubelet import host
from tests.support.kubelet.cluster import Cluster
from tests.support.kubelet.node import Node, container_status, is_ready, new_directory
from tests.support.kubelet.process import request

_RECORD = Path("/dev/shm/crishim-node.json") if Path("/dev/shm").is_dir() else Path("/run/crishim-node.json")
_CLUSTER = os.environ.get("CRISHIM_NODE") == "cluster"
_PROGRAM = "hack/cluster" if _CLUSTER else "hack/node"
_EXAMPLE = """apiVersion: v1
kind: Pod
metadata: {name: hello, namespace: default}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: main
    image: localhost/crishim/busybox:latest
    imagePullPolicy: Never
    command: [sh, -c, "echo hello; exec sleep 1000000"]
"""


def record() -> dict[str, Any]:
    """What `up` wrote of the node that is up; ends the program if there is none."""
    if not _RECORD.exists():
        sys.exit("node: none is up (hack/node up)")
    found: dict[str, Any] = json.loads(_RECORD.read_text())
    return found


def up() -> None:
    if _RECORD.exists():
        sys.exit(f"node: one is up already, or was not taken down: {_RECORD} (hack/node down)")
    started = time.monotonic()
    directory = new_directory()
    _RECORD.write_text(json.dumps({"directory": str(directory), "pids": {}}))
    host.isolate_node()
    node = Cluster(directory) if _CLUSTER else Node(directory)
    try:
        node.start()
    except BaseException:
        node.delete()
        _RECORD.unlink()
        raise
    programs = {"kubelet": node.kubelet.process, "daemon": node.daemon.process}
    if isinstance(node, Cluster):
        programs |= dict(reversed(node.control.processes.items()))
    known = {
        "directory": str(directory),
        "socket": str(node.daemon.socket),
        "kubeconfig": str(node.control.kubeconfig()) if isinstance(node, Cluster) else "",
        "pids": {name: process.pid for name, process in programs.items() if process},
    }
    _RECORD.write_text(json.dumps(known))
    (directory / "hello.yaml").write_text(_EXAMPLE)
    print(f"The node answers after {time.monotonic() - started:.0f} s. What next:")
    if isinstance(node, Cluster):
        print(f"  hack/cluster kubectl apply -f {directory}/hello.yaml\n  hack/cluster kubectl get pods -o wide")
    else:
        print(f"  cp {directory}/hello.yaml {node.kubelet.manifests}/    a pod; remove the copy, and it ends")
    print(
        f"  {_PROGRAM} status       the pods as the kubelet reports them\n"
        f"  {_PROGRAM} crictl ps    the same from the runtime's side\n"
        f"  {_PROGRAM} shell        a shell in the node's namespaces\n"
        f"  tail -f {directory}/kubelet.log {node.daemon.log}\n"
        f"  {_PROGRAM} down"
    )


def enter() -> dict[str, Any]:
    known = record()
    try:
        host.enter(int(known["pids"]["daemon"]))
    except (KeyError, OSError):
        sys.exit("node: it is not running any more (hack/node down)")
    return known


def status() -> None:
    enter()
    print(f"kubelet: {request('/healthz').decode().strip()}")
    for item in json.loads(request("/pods"))["items"] or []:
        state = item["status"]
        addresses = ", ".join(ip["ip"] for ip in state.get("podIPs", []))
        ready = "Ready" if is_ready(item) else "not Ready"
        print(f"{item['metadata']['name']}: {state.get('phase')}, {ready}, {addresses}")
        for container in item["spec"]["containers"]:
            found = container_status(item, container["name"])
            print(f"  {container['name']}: {json.dumps(found.get('state'))}, restarts {found.get('restartCount')}")


def down() -> None:
    """Everything goes: pods through the runtime while it answers, then what is left by cgroup and directory."""
    known = record()
    directory = Path(known["directory"])
    for name in known["pids"]:  # the kubelet first, or it would start the pods again
        if name == "daemon" and _alive(known, name):
            child = subprocess.run([sys.executable, "-m", "hack.kubelet", "crictl", "rmp", "--all", "--force"])
            if child.returncode:
                print("node: the runtime did not remove its pods; their processes are killed", file=sys.stderr)
        _end(known, name)
    cgroup = f"/{directory.name}"
    cgroups.kill(cgroup)
    cgroups.remove(cgroup)
    for target in mounts.below(directory):
        mounts.unmount(target)
    subprocess.run(["rm", "-rf", str(directory)], check=True)
    _RECORD.unlink()
    print("node: gone")


def driver(known: dict[str, Any], pattern: str) -> None:
    """The example DRA driver in the place of this process, until it is interrupted."""
    directory = Path(known["directory"])
    Cluster.allow_driver(Path(known["kubeconfig"]))
    _RECORD.write_text(json.dumps(known | {"pids": {"driver": os.getpid(), **known["pids"]}}))  # for `down`
    command = Cluster.driver_command(directory, pattern)
    os.execv(command[0], command)


def _alive(known: dict[str, Any], name: str) -> bool:
    """Whether the recorded pid is still the program that was started: it names the node's directory."""
    try:
        command = Path(f"/proc/{known['pids'][name]}/cmdline").read_bytes()
    except (KeyError, OSError):
        return False
    return known["directory"].encode() in command


def _end(known: dict[str, Any], name: str) -> None:
    if not _alive(known, name):
        return
    os.kill(int(known["pids"][name]), signal.SIGTERM)
    deadline = time.monotonic() + 15
    while _alive(known, name):
        if time.monotonic() > deadline:
            os.kill(int(known["pids"][name]), signal.SIGKILL)
        time.sleep(0.05)


def main() -> None:
    what, arguments = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    if what == "up":
        up()
    elif what == "status":
        status()
    elif what == "down":
        down()
    elif what == "numbers":
        numbers.main(arguments)
    elif what == "crictl":
        known = enter()
        program = test_program("crictl")
        os.execv(program, [program, f"--runtime-endpoint=unix://{known['socket']}", *arguments])
    elif what == "kubectl" and _CLUSTER:
        known = enter()
        program = test_program("kubectl")
        os.execv(program, [program, f"--kubeconfig={known['kubeconfig']}", *arguments])
    elif what == "driver" and _CLUSTER:
        driver(enter(), arguments[0])
    elif what == "shell":
        enter()
        os.execvp(arguments[0] if arguments else "sh", arguments or ["sh"])
    else:
        sys.exit(
            f"usage: {_PROGRAM} up | status | down | test [PYTEST ARGUMENTS] | numbers [--help]"
            " | crictl ARGUMENTS | shell [COMMAND]"
        )


if __name__ == "__main__":
    main()
