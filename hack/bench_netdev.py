#!/usr/bin/env python3
"""Attaching and returning N network devices: this project's driver, and the same devices by CNI's host-device plugin.

Usage (as root): hack/bench_netdev.py [N] [ROUNDS]. Works in namespaces of its own; prints medians of one run.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crishim.linux import namespaces
from crishim.linux.netlink import links
from crishim.netdev.driver import NetDevices
from crishim.netdev.records import DeviceRequest, Mover, PodRef, Source

PLUGIN_DIRS = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")


def namespace(path: Path) -> Path:
    namespaces.make({"net": path}, lambda: None)
    return path


def addressing(count: int) -> str:
    lines = []
    for i in range(count):
        lines += [f"link set demo{i} up", f"addr replace 10.7.{i}.1/24 dev demo{i}"]
        lines += [f"addr replace 2001:db8:{i}::1/64 dev demo{i} nodad"]
    return "\n".join(lines)


def make_devices(host: Path, count: int) -> None:
    lines = []
    for i in range(count):
        lines += [f"link add demo{i} mtu 1400 type veth peer name peer{i}", f"link set peer{i} up"]
    in_host(host, "\n".join(lines) + "\n" + addressing(count))


def in_host(host: Path, commands: str) -> None:
    subprocess.run(["nsenter", f"--net={host}", "ip", "-batch", "-"], input=commands, text=True, check=True)


class Stopwatch:
    """Times links.move, so that the kernel's part can be told from ours."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._move = links.move
        links.move = self.move

    def move(self, *args: object, **options: object) -> None:
        started = time.perf_counter()
        self._move(*args, **options)  # type: ignore[arg-type]
        self.seconds += time.perf_counter() - started

    def take(self) -> float:
        taken, self.seconds = self.seconds, 0.0
        return taken


Times = dict[str, list[float]]


async def by_driver(devices: NetDevices, watch: Stopwatch, netns: Path, count: int, times: Times) -> None:
    wishes = [DeviceRequest(device=f"demo{i}", name=f"net{i + 1}", source=Source.COMMAND) for i in range(count)]
    pod = PodRef(id=netns.name, netns=str(netns))
    started = time.perf_counter()
    async with await devices.plan(wishes, pod, Mover.BUILTIN) as plan:
        await plan.begin()
        await plan.verify_and_repair()
    times["attach"].append(time.perf_counter() - started)
    times["attach, moves"].append(watch.take())
    started = time.perf_counter()
    await devices.return_devices(pod)
    times["return"].append(time.perf_counter() - started)
    times["return, moves"].append(watch.take())


def by_host_device(plugin: Path, netns: Path, count: int, times: Times, *, addressed: bool) -> None:
    """In a thread that is in the host's namespace: the plugin inherits it.

    addressed: with the IPv4 address the device had (the plugin itself forgets it; with IPv6 it would wait for DAD).
    """
    for command in ("ADD", "DEL"):
        started = time.perf_counter()
        for i in range(count):
            config: dict[str, Any] = {"cniVersion": "0.4.0", "name": "bench", "type": "host-device"}
            config["device"] = f"demo{i}"
            if addressed:
                config["ipam"] = {"type": "static", "addresses": [{"address": f"10.7.{i}.1/24"}]}
            env = {"CNI_COMMAND": command, "CNI_CONTAINERID": netns.name, "CNI_NETNS": str(netns)}
            env |= {"CNI_IFNAME": f"net{i + 1}", "CNI_PATH": str(plugin.parent), "PATH": os.environ["PATH"]}
            subprocess.run([plugin], input=json.dumps(config).encode(), env=env, check=True, stdout=subprocess.PIPE)
        times[f"host-device {command}{' +IPv4' if addressed else ''}"].append(time.perf_counter() - started)


async def measure(root: Path, host: Path, plugin: Path | None, count: int, rounds: int) -> Times:
    """Both in turns, so that a busy machine is busy for both."""
    times: Times = defaultdict(list)
    watch = Stopwatch()
    devices = NetDevices(root / "journal", host_netns=host)
    await devices.recover([])
    for number in range(rounds):
        netns = namespace(root / f"pod{number}.net")
        await by_driver(devices, watch, netns, count, times)
        if plugin is not None:
            for addressed in (False, True):
                work = partial(by_host_device, plugin, netns, count, times, addressed=addressed)
                namespaces.inside({"net": host}, work)
                in_host(host, addressing(count))  # the plugin leaves the devices down, without addresses
        namespaces.unpin(netns)  # how many others there are is part of an attach's time: the next round has as many
    return times


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    plugin = next((Path(d, "host-device") for d in PLUGIN_DIRS if Path(d, "host-device").exists()), None)
    with tempfile.TemporaryDirectory(prefix="crishim-bench-", dir="/dev/shm") as directory:
        root = Path(directory)
        host = namespace(root / "host.net")
        try:
            make_devices(host, count)
            found = asyncio.run(measure(root, host, plugin, count, rounds))
        finally:
            for pin in root.glob("*.net"):
                namespaces.unpin(pin)
    if plugin is None:
        print("no host-device plugin in " + ", ".join(PLUGIN_DIRS))
    print(f"{count} devices, {rounds} rounds, medians in milliseconds")
    for name, seconds in found.items():
        print(f"  {name:24} {statistics.median(seconds) * 1000:8.1f}")


if __name__ == "__main__":
    main()
