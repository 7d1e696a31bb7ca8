"""A cluster of several nodes: a control plane in our own namespaces, and machines (machine.py) that are the nodes."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from crishim.linux import cgroups, mounts
from tests.support import residue
from tests.support.isolation import remove_link
from tests.support.kubelet import host
from tests.support.kubelet.control_plane import ControlPlane, patiently
from tests.support.kubelet.driver import Driver
from tests.support.kubelet.machine import BRIDGE, Machine, join, make_bridge
from tests.support.kubelet.node import Node, new_directory

# A lease is renewed each quarter of its life; a node that is not heard of within the grace period is NotReady. With
# Kubernetes' own 40 and 50 s a test would do little but wait. (kube-controller-manager, --node-monitor-grace-period)
_LEASE = {"nodeLeaseDurationSeconds": 16}
_GRACE = ("--node-monitor-grace-period=20s", "--node-monitor-period=2s")


class Member(Node):
    """One of the nodes, on a machine that runs already. It does not share anything but the kernel with the others."""

    def __init__(self, directory: Path, machine: Machine, control: ControlPlane, **settings: Any) -> None:
        self.machine, self.name = machine, machine.place.name
        super().__init__(directory, kubelet={"address": "0.0.0.0", **_LEASE}, place=machine.place, **settings)
        self.kubelet.arguments = [f"--kubeconfig={control.kubeconfig(f'kubelet-{self.name}')}"]
        self.daemon.write_network(subnets=machine.subnets, masquerade=False)
        self.driver = Driver(directory, control.directory, self.name, machine.place.inside)

    def prepare(self) -> None:
        """The machine has been prepared."""

    def clear(self) -> None:
        self.driver.stop()
        self.machine.end()

    def left(self) -> dict[str, set[str]]:
        """As Node.left(), seen from inside."""
        found = super().left()
        table = mounts.table(self.machine.process.pid)
        found["mounts"] = {point.target for point in table if str(self.daemon.directory) in point.target}
        shown = (line.split(":")[1].strip() for line in self.machine.ip("-o", "link").splitlines())
        found["links"] = {name for name in shown if name not in (residue.BRIDGE, "lo")}
        found["rules"] = set(residue.rules(self.machine.place.inside))
        return found

    def kill(self, *, pods: bool = False) -> None:
        """Kill the node's two programs at once; its pods run on, unattended, or are killed as well."""
        self.kubelet.kill()
        self.daemon.kill()
        if pods:
            cgroups.kill(self.daemon.cgroup)

    def restart(self) -> None:
        """Start what was killed."""
        self.daemon.start()
        self.kubelet.start()


class Nodes:
    """Made and started by start(); delete() takes away whatever there is."""

    def __init__(self, directory: Path, count: int) -> None:
        self.directory = directory
        self._numbers = range(1, count + 1)
        self.control = ControlPlane(directory / "control-plane", [f"node{n}" for n in self._numbers], *_GRACE)
        self.kubectl = self.control.kubectl
        self.members: list[Member] = []

    def start(self) -> None:
        """Start everything, the nodes side by side; returns when all are Ready."""
        for number in self._numbers:
            own = new_directory()
            self.members.append(Member(own, Machine(own, number), self.control))
        make_bridge()
        join(member.machine for member in self.members)
        self.control.start()
        with ThreadPoolExecutor(len(self.members)) as pool:
            list(pool.map(Member.start, self.members))
        for member in self.members:
            patiently(lambda name=member.name: self.control.is_ready(name), f"{member.name} is Ready", 180)  # type: ignore[misc]
        self.control.wait_for_accounts()

    def __getitem__(self, name: str) -> Member:
        """A node by its name."""
        return next(member for member in self.members if member.name == name)

    def delete(self) -> None:
        for member in self.members:
            member.kubelet.kill()
        self.control.stop()
        for member in self.members:
            member.delete()
        remove_link(BRIDGE)
        shutil.rmtree(self.directory, ignore_errors=True)

    def keep_logs(self, directory: Path) -> None:
        """Copy all logs."""
        logs = {log.name: log for log in self.control.directory.glob("*.log")}
        for member in self.members:
            logs |= {f"{member.name}.kubelet.log": member.kubelet.log, f"{member.name}.log": member.daemon.log}
        for name, log in logs.items():
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(log, directory / name)


@contextlib.contextmanager
def scratch_nodes(count: int) -> Iterator[Nodes]:
    """A running cluster; everything of it is gone afterwards."""
    host.isolate_node()
    nodes = Nodes(new_directory(), count)
    try:
        nodes.start()
        yield nodes
    finally:
        if keep := os.environ.get("CRISHIM_KEEP_LOGS"):
            nodes.keep_logs(Path(keep))
        nodes.delete()
