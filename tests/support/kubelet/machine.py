"""A machine that is only namespaces: where one node of several lives, and the network that joins it to the others.

A process holds a network and a mount namespace with a sysfs of its own and an overlay on /var (host.py). All that is
mounted and linked in there is gone with the last process in it. The machine's node0 is a port of a bridge in our own
namespace, which the control plane's node0 is joined to as well. What goes from the pods of one node to those of another
is routed by the nodes, as on a network where the nodes know each other's pod subnets.
"""

import ipaddress
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.support.isolation import forget, ip, isolate, remove_link
from tests.support.kubelet import host
from tests.support.kubelet.place import Place

BRIDGE = "nodes0"


class Machine:
    """number: 1 to 99, of its addresses and its name. Runs when it is made."""

    def __init__(self, directory: Path, number: int) -> None:
        self.subnets = (f"10.231.{number}.0/24", f"fd31:0:0:{number}::/64")  # of its pods
        self.addresses = (f"10.230.0.{10 + number}", f"fd30::{10 + number}")
        self._port = f"node{number}p"
        command = [sys.executable, "-m", __name__, str(directory)]
        with (directory / "machine.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        assert self.process.stdout
        assert self.process.stdout.readline() == b"ready\n", f"no namespaces for node{number}, see {log.name}"
        self.process.stdout.close()
        spaces = f"/proc/{self.process.pid}/ns"
        inside = (
            "nsenter",
            f"--net={spaces}/net",
            f"--mount={spaces}/mnt",
            f"--wdns={Path(__file__).parents[3]}",
            "--",
        )
        self.place = Place(f"node{number}", self.addresses[0], inside)

    def connect(self) -> None:
        """Join the bridge; node0 has the machine's addresses and a default route, which the kubelet looks for."""
        ip("link", "add", self._port, "type", "veth", "peer", "name", "node0", "netns", str(self.process.pid))
        ip("link", "set", self._port, "up", "master", BRIDGE)
        four, six = self.addresses
        self.ip("addr", "add", f"{four}/24", "dev", "node0")
        self.ip("addr", "add", f"{six}/64", "dev", "node0", "nodad")
        self.ip("link", "set", "node0", "up")
        self.ip("route", "add", "default", "via", host.GATEWAY)

    def route_to(self, other: "Machine") -> None:
        """Send what is for another machine's pods to it."""
        for subnet, address in zip(other.subnets, other.addresses, strict=True):
            family = f"-{ipaddress.ip_network(subnet).version}"
            self.ip(family, "route", "add", subnet, "via", address)

    def ip(self, *arguments: str) -> str:
        """Run ip(8) in there."""
        return ip(*arguments, netns=f"/proc/{self.process.pid}/ns/net")

    def run(self, *command: str) -> str:
        """The output of a command that is run in there."""
        done = subprocess.run([*self.place.inside, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def end(self) -> None:
        """End the process that holds the namespaces, and take the cable away."""
        remove_link(self._port)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


def make_bridge() -> None:
    """The bridge of all machines, with the control plane's node0 at it."""
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("link", "set", BRIDGE, "up")
    ip("link", "set", "node0p", "master", BRIDGE)


def join(machines: Iterable[Machine]) -> None:
    """Connect machines to the bridge and to each other's pods."""
    machines = list(machines)
    for machine in machines:
        machine.connect()
    for machine in machines:
        for other in machines:
            if other is not machine:
                machine.route_to(other)


def main() -> None:
    """Hold the namespaces of a machine whose overlay of /var is in a directory."""
    forget()
    isolate()
    host.lay_over(Path(sys.argv[1]))
    os.write(1, b"ready\n")
    signal.pause()


if __name__ == "__main__":
    main()
