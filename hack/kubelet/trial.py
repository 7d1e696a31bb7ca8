"""One trial: pods put on a fresh node whose kubelet then starts, measured from there until they are gone again."""

import math
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from crishim.linux import cgroups
from hack.kubelet.peer import PeerNode
from tests.support.daemon import IMAGE, eventually
from tests.support.isolation import remove_link
from tests.support.kubelet import host
from tests.support.kubelet.node import Node, is_ready, new_directory
from tests.support.kubelet.process import request
from tests.support.residue import BRIDGE

# The kubelet's own defaults, which test nodes shorten.
KUBELET = {
    "syncFrequency": "1m",
    "containerLogMonitorInterval": "10s",
    "containerLogMaxSize": "10Mi",
    "containerLogMaxFiles": 5,
    "logging": {"verbosity": 2},
}
SLEEPER = {
    "name": "main",
    "image": IMAGE,
    "imagePullPolicy": "Never",
    "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait"],
}
POLL = 0.2  # seconds between two looks: asking for 100 pods costs the kubelet a few milliseconds
REST = 20  # seconds looked at; the kubelet asks for statistics every 10
_SERIES = re.compile(r'^(\w+)_(bucket|sum|count)(?:\{(.*?),?(?:le="([^"]+)")?\})? (\S+)$', re.M)

Figures = dict[str, dict[str, float]]  # by row, then by column; less is better in all of them


class Contestant(NamedTuple):
    """Who is measured: crishim or containerd, with crun or runc."""

    runtime: str
    handler: str

    def __str__(self) -> str:
        return f"{self.runtime} with {self.handler}"


@dataclass
class Histogram:
    """A histogram of Prometheus: counts up to each bound, and the sum of what was observed."""

    buckets: list[tuple[float, float]]
    sum: float = 0
    count: float = 0

    def quantile(self, share: float) -> float:
        """Linear within the bucket, as histogram_quantile() of Prometheus."""
        wanted, below, start = share * self.count, 0.0, 0.0
        for bound, count in self.buckets:
            if count >= wanted:
                if math.isinf(bound):  # beyond the last bucket: its end is all that is known
                    return start
                return start + (bound - start) * ((wanted - below) / (count - below) if count > below else 1)
            below, start = count, bound
        return start

    def figures(self, scale: float) -> dict[str, float]:
        shares = {"p50": self.quantile(0.5), "p99": self.quantile(0.99), "mean": self.sum / self.count}
        return {column: value * scale for column, value in shares.items()}


def histograms(text: str, name: str) -> dict[str, Histogram]:
    """The histograms of a name that observed anything, by their other labels."""
    found: dict[str, Histogram] = {}
    for metric, part, labels, bound, value in _SERIES.findall(text):
        if metric != name:
            continue
        one = found.setdefault(labels, Histogram([]))
        if part == "bucket":
            one.buckets.append((float(bound), float(value)))
        else:
            setattr(one, part, float(value))
    return {labels: one for labels, one in found.items() if one.count}


class Account:
    """A cgroup with the runtime in it, hence its monitors and all they run but the containers: what they use."""

    def __init__(self) -> None:
        found = cgroups.hierarchies()
        top = found.get("cpuacct", found.get("unified", cgroups.ROOT))
        self.directory = Path(tempfile.mkdtemp(prefix="crishim-runtime-", dir=top))

    def add(self, pid: int) -> None:
        (self.directory / "cgroup.procs").write_text(str(pid))

    def seconds(self) -> float:
        """CPU time so far."""
        usage = self.directory / "cpuacct.usage"
        if usage.exists():
            return int(usage.read_text()) / 1e9
        return int((self.directory / "cpu.stat").read_text().split()[1]) / 1e6

    def pids(self) -> list[int]:
        return [int(pid) for pid in (self.directory / "cgroup.procs").read_text().split()]


@contextmanager
def account_of() -> Iterator[Account]:
    """An account, closed when the runtime and its monitors have ended."""
    host.isolate_node()
    account = Account()
    try:
        yield account
    finally:
        eventually(lambda: not account.pids(), "runtime and monitors have ended")
        account.directory.rmdir()


def proportional(pid: int) -> float:
    """PSS of a process in MiB; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/smaps_rollup").read_text().split("Pss:")[1].split()[0]) / 1024
    except OSError:
        return 0


@contextmanager
def node_of(contestant: Contestant) -> Iterator[Node]:
    """A running node without pods, its kubelet stopped; everything of it is gone afterwards."""
    host.isolate_node()
    directory, handler = new_directory(), contestant.handler
    if contestant.runtime == "crishim":
        node = Node(directory, kubelet=KUBELET, log={"level": "info"}, runtimes={"default": handler})
    else:
        node = PeerNode(directory, handler, KUBELET)
    try:
        node.start()
        node.kubelet.stop()
        yield node
    finally:
        node.delete()
        remove_link(BRIDGE)


def trial(contestant: Contestant, count: int, rest: bool) -> Figures:
    """`count` pods on a node of their own. rest: look at the runtime's CPU and memory while nothing happens."""
    names = [f"n{number}" for number in range(count)]
    with account_of() as account, node_of(contestant) as node:
        assert node.daemon.process
        account.add(node.daemon.process.pid)
        for name in names:
            node.put(name, {"containers": [SLEEPER]})
        figures: Figures = {"all Ready after kubelet start, s": {"": _start(node, count)}}
        if rest:
            figures |= _at_rest(account, node.daemon.process.pid)
        figures["all gone after removal, s"] = {"": _remove(node, names)}
        return figures | _observed(request("/metrics").decode())


def _start(node: Node, count: int) -> float:
    started = time.monotonic()
    node.kubelet.start()

    def ready() -> bool:
        time.sleep(POLL)
        return sum(map(is_ready, node.pods().values())) == count

    eventually(ready, f"all are Ready, see {node.daemon.log}", 300)
    return time.monotonic() - started


def _remove(node: Node, names: list[str]) -> float:
    started = time.monotonic()
    for name in names:
        (node.kubelet.manifests / f"{name}.yaml").unlink()

    def gone() -> bool:
        time.sleep(POLL)
        return not node.pods() and not any(p.state == 0 for p in node.daemon.call("ListPodSandbox").items)

    eventually(gone, "all are gone", 300)
    return time.monotonic() - started


def _at_rest(account: Account, daemon: int) -> Figures:
    time.sleep(3)  # the kubelet's work on the last pods
    before, started = account.seconds(), time.monotonic()
    time.sleep(REST)
    busy = (account.seconds() - before) / (time.monotonic() - started)
    held = {pid: proportional(pid) for pid in account.pids()}
    return {
        "CPU at rest, % of one": {"": 100 * busy},
        "PSS daemon, MiB": {"": held.pop(daemon)},
        "PSS monitors, MiB": {"": sum(held.values())},
    }


def _observed(text: str) -> Figures:
    """The kubelet's own histograms."""
    found: Figures = {}
    for row, metric, scale in (
        ("pod start, s", "kubelet_pod_start_duration_seconds", 1),
        ("PLEG relist, ms", "kubelet_pleg_relist_duration_seconds", 1000),
    ):
        for one in histograms(text, metric).values():  # it has no other labels
            found[row] = one.figures(scale)
    operations = histograms(text, "kubelet_runtime_operations_duration_seconds")
    for labels, one in sorted(operations.items()):
        operation = labels.split('"')[1]
        found[f"{operation}, ms"] = one.figures(1000)
    # The OCI runtime's create is part of our CreateContainer, of containerd's StartContainer: the sum compares.
    calls = [found[f"{name}, ms"]["mean"] for name in ("run_podsandbox", "create_container", "start_container")]
    return {"run, create, start in sum, ms": {"mean": sum(calls)}, **found}
