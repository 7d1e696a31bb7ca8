"""hack/bench growth [PODS...]: what calls, memory and rest cost as pods with two containers each become more.

Pods after the hundredth are on the host's network. Beside each size stands the floor at that size, so that the kernel's
and iptables' shares can be told from the daemon's. Nothing here is a test.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import grpc

from hack.benchmark import floor, plots
from hack.benchmark.calls import milliseconds
from hack.benchmark.contestants import CONTAINERD, CRUN, PEERS, Contestant, crishim, running
from hack.benchmark.ground import ROOT, as_installed, load, machine, residue
from hack.benchmark.report import number, put
from tests.support.isolation import isolate, remove_link
from tests.support.pods import container_config, create, remove_pod, run_pod
from tests.support.residue import BRIDGE
from tests.support.turnover import pss

BRIDGED = 100
LISTS = ("ListPodSandbox", "ListContainers", "ListPodSandboxStats", "ListContainerStats", "ListPodSandboxMetrics")
TICKS = os.sysconf("SC_CLK_TCK")
MARKS = "<!-- hack/bench growth writes from here -->", "<!-- hack/bench growth writes to here -->"
Column = dict[str, float]


def made(one: Contestant, bridged: bool, containers: int = 2) -> str:
    """A pod whose containers run."""
    config = one.pod_config(host_network=not bridged)
    pod = run_pod(one.daemon, config, one.handler)
    for name in range(containers):
        wish = container_config(f"c{name}", command=["sleep", "1000000"])
        one.daemon.call("StartContainer", container_id=create(one.daemon, pod, wish, config))
    return pod


def timed(act: Callable[[], object], times: int) -> float:
    """The median in ms."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        found.append(milliseconds(began))
    return statistics.median(found)


def lives(one: Contestant, bridged: bool, times: int = 5) -> Column:
    """Start, stop and removal of further pods, one after the other."""
    kind, pods = ("bridge" if bridged else "host network"), list[str]()
    found = {f"start of a pod, {kind}": timed(lambda: pods.append(made(one, bridged)), times)}
    ids = iter(pods)
    found[f"StopPod, {kind}"] = timed(lambda: one.daemon.call("StopPodSandbox", pod_sandbox_id=next(ids)), times)
    for pod in pods:
        remove_pod(one.daemon, pod)
    return found


def questions(one: Contestant, pod: str, times: int = 9) -> Column:
    """Each question's ms, and the bytes of the answers that grow."""
    container = one.daemon.call("ListContainers").containers[0].id
    found = {"Status": timed(partial(one.daemon.call, "Status"), times)}
    status = partial(one.daemon.call, "PodSandboxStatus", pod_sandbox_id=pod, verbose=True)
    found["PodSandboxStatus, verbose"] = timed(status, times)
    found["ContainerStatus"] = timed(partial(one.daemon.call, "ContainerStatus", container_id=container), times)
    for name in LISTS:
        try:
            found[f"{name}, kB"] = one.daemon.call(name).ByteSize() / 1000
        except grpc.RpcError as error:  # an answer has 16 MiB at most, as the kubelet's client wants it
            print(f"{name}: {error.details() if isinstance(error, grpc.Call) else error}", file=sys.stderr)
            continue
        found[name] = timed(partial(one.daemon.call, name), times)
    return found


def cpu(pid: int) -> float:
    """Seconds of CPU time a process has used; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / TICKS


def at_rest(one: Contestant, pods: int, seconds: float) -> Column:
    """Memory, and the CPU of daemon and monitors while nobody asks."""
    assert one.daemon.process is not None
    daemon = one.daemon.process.pid
    monitors = [int(line.split()[0]) for line in one.daemon.left()["processes"]]
    time.sleep(3)  # what removals do behind their answers
    before, began = (cpu(daemon), sum(map(cpu, monitors))), time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    return {
        "daemon at rest, % of a core": (cpu(daemon) - before[0]) / passed * 100,
        "monitors at rest, % of a core": (sum(map(cpu, monitors)) - before[1]) / passed * 100,
        "daemon, PSS in MB": pss(daemon) / 1024,
        "monitors of a pod, PSS in MB": sum(map(pss, monitors)) / pods / 1024,
    }


def floor_beside() -> Column:
    found = floor.measured("crun", 5)
    return {
        "floor: start of a pod": found["start"],
        "floor: of that CNI ADD": found["add"],
        "floor: of that the OCI runtime": found["run"],
        "floor: CNI DEL and namespaces": found["end"],
    }


def grown(one: Contestant, sizes: list[int], rest: float) -> dict[int, Column]:
    pods, found = list[str](), dict[int, Column]()
    with ThreadPoolExecutor(4) as pool:
        for size in sizes:
            pods += pool.map(lambda number: made(one, number < BRIDGED), range(len(pods), size))
            print(f"{size} pods of {one.name}, load {load()}", file=sys.stderr, flush=True)
            found[size] = lives(one, True) | lives(one, False) | floor_beside()
            found[size] |= questions(one, pods[0]) | at_rest(one, size, rest)
    return found


def table(found: dict[int, Column]) -> str:
    """One column a size; the last is the growth of a row between the second size and the last."""
    sizes = list(found)
    low, high = sizes[1 if len(sizes) > 2 else 0], sizes[-1]
    head = [*(f"{size} pods" for size in sizes), f"{low} to {high}"]
    lines = ["| ms | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for name in dict.fromkeys(name for column in found.values() for name in column):
        cells = [number(found[size][name]) if name in found[size] else "none" for size in sizes]
        before, after = found[low].get(name), found[high].get(name)
        cells.append(f"x {after / before:.1f}" if before and after else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plotted(found: dict[int, Column], directory: Path, name: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / f"growth-{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    rows = ("start of a pod, bridge", "floor: start of a pod", "start of a pod, host network", "StopPod, host network")
    series = {row: [(size, column[row]) for size, column in found.items() if row in column] for row in rows}
    (directory / f"growth-{name}-pods.svg").write_text(plots.lines("Pods as they become more", "ms", series))
    series = {row: [(size, column[row]) for size, column in found.items() if row in column] for row in LISTS}
    (directory / f"growth-{name}-lists.svg").write_text(plots.lines("Lists as pods become more", "ms", series))


def main() -> int:
    parser = argparse.ArgumentParser(prog="hack/bench growth", description=__doc__)
    parser.add_argument("pods", nargs="*", type=int, default=[10, 100, 250, 500])
    parser.add_argument("--peer", action="store_true", help="containerd instead")
    parser.add_argument("--rest", type=float, default=60, help="seconds at rest")
    parser.add_argument("--docs", action="store_true", help="table and plots into docs/")
    known = parser.parse_args()
    isolate()
    as_installed()
    before, name = residue(), CONTAINERD if known.peer else CRUN
    about = f"{name}, {machine()}, load {load()}"
    with running(PEERS[name] if known.peer else crishim) as daemon:
        found = grown(Contestant(name, daemon, "" if known.peer else "crun"), known.pods, known.rest)
    about += f" to {load()}"
    print(f"{about}\n\n{table(found)}")
    if known.docs:
        plotted(found, ROOT / "docs/performance", name.partition(",")[0])
        if not known.peer:
            put(ROOT / "docs/performance.md", MARKS, f"{about}\n\n{table(found)}")
    remove_link(BRIDGE)
    left = residue() - before
    print("nothing is left" if not left else f"{len(left)} things are left behind: {sorted(left)[:10]}")
    return int(bool(left))


if __name__ == "__main__":
    sys.exit(main())
