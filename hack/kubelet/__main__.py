"""hack/node and hack/cluster: a test node, or a cluster of one or more, brought up, looked at and taken down."""

import json
import os
import sys
import time
from pathlib import Path

from hack.kubelet import numbers, record
from hack.kubelet.down import down
from hack.kubelet.record import OneNode, Record
from tests.support.daemon import test_program
from tests.support.kubelet import host
from tests.support.kubelet.cluster import Cluster
from tests.support.kubelet.driver import allow_driver, driver_command
from tests.support.kubelet.node import Node, container_status, is_ready, new_directory
from tests.support.kubelet.nodes import Nodes
from tests.support.kubelet.process import request

_CLUSTER = os.environ.get("CRISHIM_NODE") == "cluster"
_PROGRAM = "hack/cluster" if _CLUSTER else "hack/node"
_USAGE = f"""usage: {_PROGRAM} up | status | down | test [PYTEST ARGUMENTS] | numbers [--help]
       {_PROGRAM} crictl ARGUMENTS | shell [COMMAND]                 --node=NAME first: on that of several nodes"""
_USAGE_OF_CLUSTER = f"""{_USAGE}
       {_PROGRAM} up --nodes N | kubectl ARGUMENTS | driver PATTERN [ARGUMENTS]"""
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


def make(directory: Path, count: int) -> Node | Nodes:
    if count > 1:
        return Nodes(directory, count)
    return Cluster(directory) if _CLUSTER else Node(directory)


def up(count: int) -> None:
    if record.is_up():
        sys.exit("node: one is up already, or was not taken down (hack/node down)")
    started = time.monotonic()
    directory = new_directory()
    Record(str(directory)).write()
    host.isolate_node()
    made = make(directory, count)
    try:
        made.start()
    except BaseException:
        made.delete()
        record.remove()
        raise
    known = record.of(made)
    known.write()
    (directory / "hello.yaml").write_text(_EXAMPLE)
    print(f"{'The node answers' if count == 1 else 'All nodes are Ready'} after {time.monotonic() - started:.0f} s.")
    print("What next:\n" + "\n".join(f"  {line}" for line in what_next(known)))


def what_next(known: Record) -> list[str]:
    one = known.nodes[0]
    example = f"{known.directory}/hello.yaml"
    if _CLUSTER:
        lines = [f"hack/cluster kubectl apply -f {example}", "hack/cluster kubectl get pods -o wide"]
    else:
        lines = [f"cp {example} {one.directory}/manifests/    a pod; remove the copy, and it ends"]
    at = f" --node={known.nodes[-1].name}" if len(known.nodes) > 1 else ""
    return [
        *lines,
        f"{_PROGRAM} status       the pods as the kubelet reports them",
        f"{_PROGRAM} crictl{at} ps    the same from the runtime's side",
        f"{_PROGRAM} shell{at}        a shell in the node's namespaces",
        f"tail -f {one.directory}/kubelet.log {Path(one.socket).parent}/log",
        f"{_PROGRAM} down",
    ]


def status(one: OneNode) -> None:
    record.enter(one)
    print(f"kubelet: {request('/healthz').decode().strip()}")
    for item in json.loads(request("/pods"))["items"] or []:
        state = item["status"]
        addresses = ", ".join(ip["ip"] for ip in state.get("podIPs", []))
        ready = "Ready" if is_ready(item) else "not Ready"
        print(f"{item['metadata']['name']}: {state.get('phase')}, {ready}, {addresses}")
        for container in item["spec"]["containers"]:
            found = container_status(item, container["name"])
            print(f"  {container['name']}: {json.dumps(found.get('state'))}, restarts {found.get('restartCount')}")


def kubectl(known: Record, arguments: list[str]) -> None:
    record.enter_control_plane(known)
    program = test_program("kubectl")
    os.execv(program, [program, f"--kubeconfig={known.kubeconfig}", *arguments])


def driver(known: Record, one: OneNode, arguments: list[str]) -> None:
    """The example DRA driver of a node in the place of this process, until it is interrupted.

    arguments: the pattern, then flags of the driver's; --nri alone is for the node's own socket.
    """
    if not arguments:
        sys.exit(_USAGE_OF_CLUSTER)
    record.enter(one)
    allow_driver(Path(known.kubeconfig))
    one.pids["driver"] = os.getpid()
    known.write()  # for `down`
    command = driver_command(Path(one.directory), Path(known.directory) / "control-plane", one.name)
    flags = [f"--nri={Path(one.socket).parent}/nri.sock" if flag == "--nri" else flag for flag in arguments[1:]]
    os.execv(command[0], [*command, f"--pattern={arguments[0]}", *flags])


def node_named(arguments: list[str]) -> str:
    """Take --node=NAME from the head of the arguments; "" if it is not there."""
    if arguments and arguments[0].startswith("--node="):
        return arguments.pop(0).partition("=")[2]
    return ""


def count_of(arguments: list[str]) -> int:
    """N of `--nodes N`, which `up` takes in a cluster; 1 without it."""
    if not arguments:
        return 1
    if not _CLUSTER or arguments[0] != "--nodes" or len(arguments) != 2 or arguments[1] not in map(str, range(1, 10)):
        sys.exit(_USAGE_OF_CLUSTER if _CLUSTER else _USAGE)
    return int(arguments[1])


def main() -> None:
    what, arguments = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    if what == "up":
        up(count_of(arguments))
    elif what == "down":
        down()
    elif what == "numbers":
        numbers.main(arguments)
    elif what == "kubectl" and _CLUSTER:
        kubectl(record.read(), arguments)
    elif what in ("status", "crictl", "shell") or (what == "driver" and _CLUSTER):
        known = record.read()
        one = known.node(node_named(arguments))
        if what == "status" and len(known.nodes) > 1:
            kubectl(known, ["get", "nodes,pods", "--all-namespaces", "-o", "wide"])
        elif what == "status":
            status(one)
        elif what == "driver":
            driver(known, one, arguments)
        else:
            on_node(one, what, arguments)
    else:
        sys.exit(_USAGE_OF_CLUSTER if _CLUSTER else _USAGE)


def on_node(one: OneNode, what: str, arguments: list[str]) -> None:
    """crictl or a shell in the place of this process."""
    record.enter(one)
    if what == "crictl":
        program = test_program("crictl")
        endpoint = f"unix://{one.socket}"  # both: /etc/crictl.yaml may name another for images
        os.execv(program, [program, f"--runtime-endpoint={endpoint}", f"--image-endpoint={endpoint}", *arguments])
    os.execvp(arguments[0] if arguments else "sh", arguments or ["sh"])


if __name__ == "__main__":
    main()
