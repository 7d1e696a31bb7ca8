"""What is up: a file that `up` writes and `down` removes, and the processes that are in it."""

import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.support.kubelet import host
from tests.support.kubelet.cluster import Cluster
from tests.support.kubelet.node import Node
from tests.support.kubelet.nodes import Member, Nodes

_FILE = Path("/dev/shm/crishim-node.json") if Path("/dev/shm").is_dir() else Path("/run/crishim-node.json")


@dataclass
class OneNode:
    name: str
    directory: str
    socket: str
    address: str  # its kubelet answers at
    pids: dict[str, int]  # in the order to end them: driver, kubelet, daemon, machine

    @property
    def cgroup(self) -> str:
        return f"/{Path(self.directory).name}"


@dataclass
class Record:
    directory: str
    kubeconfig: str = ""
    pids: dict[str, int] = field(default_factory=dict)  # the control plane's, in the order to end them
    nodes: list[OneNode] = field(default_factory=list)

    def write(self) -> None:
        _FILE.write_text(json.dumps(asdict(self)))

    def node(self, name: str) -> OneNode:
        """A node by its name, the first one by ""; ends the program if there is none."""
        for one in self.nodes:
            if name in ("", one.name):
                return one
        sys.exit(f"node: there is no {name or 'node'}: {', '.join(one.name for one in self.nodes)}")


def is_up() -> bool:
    return _FILE.exists()


def read() -> Record:
    """Ends the program if nothing is up."""
    if not is_up():
        sys.exit("node: none is up (hack/node up)")
    known = json.loads(_FILE.read_text())
    return Record(known["directory"], known["kubeconfig"], known["pids"], [OneNode(**one) for one in known["nodes"]])


def remove() -> None:
    _FILE.unlink()


def of(made: Node | Nodes) -> Record:
    """The record of what has been started."""
    members: list[Node] = [*made.members] if isinstance(made, Nodes) else [made]
    found = Record(str(made.directory), nodes=[_one(node) for node in members])
    if isinstance(made, Cluster | Nodes):
        found.kubeconfig = str(made.control.kubeconfig())
        found.pids = {name: process.pid for name, process in reversed(made.control.processes.items())}
    return found


def _one(node: Node) -> OneNode:
    place = node.kubelet.place
    programs = {"kubelet": node.kubelet.process, "daemon": node.daemon.process}
    if isinstance(node, Member):
        programs["machine"] = node.machine.process
    pids = {name: process.pid for name, process in programs.items() if process}
    return OneNode(place.name, str(node.directory), str(node.daemon.socket), place.reached, pids)


def enter(one: OneNode) -> None:
    """Move this process into a node's namespaces; ends it if the node does not run."""
    _enter(one.pids.get("daemon", 0))


def enter_control_plane(known: Record) -> None:
    """Move this process to where the API server is."""
    _enter(known.pids.get("kube-apiserver", 0))


def _enter(pid: int) -> None:
    try:
        host.enter(pid)
    except OSError:
        sys.exit("node: it is not running any more (hack/node down)")


def alive(pid: int, directory: str) -> bool:
    """Whether a recorded pid is still the program that was started: it names its directory."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return directory.encode() in command


def end(pid: int, directory: str) -> None:
    if not alive(pid, directory):
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 15
    while alive(pid, directory):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
