"""hack/bench network [ATTACHMENTS...]: CNI plugin sets by themselves, as more and more namespaces are attached.

What an ADD and a DEL cost with iptables and with nftables behind portmap and the masquerading, with one rule for all
pods in the place of one a pod, and with plugins that need no rule. Then the address leases: alone, and ten at once.
The plugins are those of hack/tools/cni-plugins. Nothing here is a test.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from crishim.linux import namespaces
from hack.benchmark.calls import milliseconds
from hack.benchmark.ground import as_installed, load, machine
from tests.support.daemon import test_program
from tests.support.isolation import ip, isolate, remove_link

Config = dict[str, Any]
BRIDGE = "cbnet0"
TIMES = 8
ROUTES = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


def sets(ipam: Config) -> dict[str, list[Config]]:
    """Chains of plugins by what they are. ipam: dual stack, host-local."""
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipam": ipam}
    portmap = {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}}
    v4 = {**ipam, "ranges": ipam["ranges"][:1], "routes": ROUTES[:1]}
    return {
        "bridge, masquerade a pod, portmap: iptables": [{**bridge, "ipMasq": True}, portmap],
        "bridge, masquerade a pod, portmap: nftables": [
            {**bridge, "ipMasq": True, "ipMasqBackend": "nftables"},
            {**portmap, "backend": "nftables"},
        ],
        "the same, IPv4 alone: iptables": [{**bridge, "ipam": v4, "ipMasq": True}, portmap],
        "the same, IPv4 alone: nftables": [
            {**bridge, "ipam": v4, "ipMasq": True, "ipMasqBackend": "nftables"},
            {**portmap, "backend": "nftables"},
        ],
        "bridge, one rule for all pods, portmap": [bridge, portmap],
        "ptp, one rule for all pods, portmap": [{"type": "ptp", "ipam": ipam}, portmap],
        "ipvlan (L2) on a link of the host": [{"type": "ipvlan", "master": "cbup0", "mode": "l2", "ipam": ipam}],
    }


class Chain:
    """A chain of plugins over namespaces that are pinned below a directory."""

    def __init__(self, directory: Path, plugins: list[Config], *, mapped: bool = False) -> None:
        self.directory, self.plugins, self.mapped = directory, plugins, mapped
        self.results: dict[int, Config] = {}

    def call(self, command: str, number: int) -> None:
        found = self.results.get(number, {})
        for plugin in self.plugins if command == "ADD" else reversed(self.plugins):
            config = {"cniVersion": "1.0.0", "name": self.directory.name, **plugin}
            if self.mapped and plugin["type"] == "portmap":
                ports = {"hostPort": 20000 + number, "containerPort": 80, "protocol": "tcp"}
                config["runtimeConfig"] = {"portMappings": [ports]}
            if found:
                config["prevResult"] = found
            answer = invoke(plugin["type"], command, f"n{number}", str(self.directory / str(number)), config)
            found = answer or found
        self.results[number] = found

    def attach(self, number: int) -> float:
        namespaces.make({"net": self.directory / str(number)}, lambda: None)
        began = time.perf_counter()
        self.call("ADD", number)
        return milliseconds(began)

    def detach(self, number: int) -> float:
        began = time.perf_counter()
        self.call("DEL", number)
        taken = milliseconds(began)
        namespaces.unpin(self.directory / str(number))
        del self.results[number]
        return taken


def invoke(plugin: str, command: str, container: str, netns: str, config: Config) -> Config:
    program = test_program(f"cni/{plugin}")
    env = {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": netns, "CNI_IFNAME": "eth0"}
    env |= {"CNI_PATH": str(Path(program).parent), "PATH": os.environ["PATH"]}
    done = subprocess.run([program], input=json.dumps(config).encode(), env=env, capture_output=True, check=False)
    assert done.returncode == 0, f"{plugin} {command}: {done.stdout.decode()} {done.stderr.decode()}"
    return dict(json.loads(done.stdout)) if done.stdout.strip() else {}


def leases(directory: Path) -> Config:
    ranges = [[{"subnet": "10.232.0.0/16"}], [{"subnet": "fd32::/64"}]]
    return {"type": "host-local", "dataDir": str(directory / "ipam"), "ranges": ranges, "routes": ROUTES}


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cb-net-", dir="/dev/shm") as name:
        directory = Path(name)
        try:
            yield directory
        finally:
            for pin in directory.glob("[0-9]*"):
                namespaces.unpin(pin)
            remove_link(BRIDGE)


def measured(name: str, sizes: list[int], *, mapped: bool) -> list[str]:
    """Cells of a row: ADD and DEL at each size."""
    with scratch() as directory:
        chain = Chain(directory, sets(leases(directory))[name], mapped=mapped)
        there, cells = 0, list[str]()
        for size in sizes:
            for number in range(there, size):
                chain.attach(number)
            there = size
            more = range(size, size + TIMES)
            added = [chain.attach(number) for number in more]
            gone = [chain.detach(number) for number in more]
            cells.append(f"{statistics.median(added):.0f}, {statistics.median(gone):.0f}")
            print(f"{name}, {size}: {cells[-1]}, load {load()}", file=sys.stderr, flush=True)
        for number in range(there):
            chain.detach(number)
        return cells


def locks() -> str:
    """host-local by itself: its lock is one for a network, held while it looks for a free address."""
    with scratch() as directory:
        config = {"cniVersion": "1.0.0", "name": directory.name, "ipam": leases(directory)}

        def lease(number: int) -> float:
            began = time.perf_counter()
            invoke("host-local", "ADD", f"n{number}", str(directory), config)
            return milliseconds(began)

        alone = [lease(number) for number in range(20)]
        for number in range(20, 500):
            lease(number)
        late = [lease(number) for number in range(500, 520)]
        with ThreadPoolExecutor(10) as pool:
            began = time.perf_counter()
            list(pool.map(lease, range(520, 620)))
            together = milliseconds(began) / 100
    one, many = statistics.median(alone), statistics.median(late)
    return f"host-local ADD: {one:.1f} ms; with 500 leases {many:.1f} ms; ten at once {together:.1f} ms each"


def main() -> int:
    parser = argparse.ArgumentParser(prog="hack/bench network", description=__doc__)
    parser.add_argument("attachments", nargs="*", type=int, default=[0, 100])
    known = parser.parse_args()
    isolate()
    as_installed()
    ip("link", "add", "cbup0", "type", "veth", "peer", "name", "cbup1")
    ip("link", "set", "cbup0", "up")
    began = load()
    heads = [f"{size} attached" for size in known.attachments]
    lines = ["| ADD, DEL in ms | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    with scratch() as directory:
        names = list(sets(leases(directory)))
    for name in names:
        for mapped in (False, True) if "portmap" in name and "IPv4" not in name else (False,):
            try:
                cells = measured(name, known.attachments, mapped=mapped)
            except AssertionError as error:  # a kernel without ipvlan
                cells = [" ".join(str(error).split())]
            lines.append(f"| {name}{', a host port' if mapped else ''} | " + " | ".join(cells) + " |")
    print("\n".join(lines))
    print(f"\n{locks()}\n{machine()}, load {began} to {load()}")
    remove_link("cbup0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
