"""Numbers of a node under a kubelet: how long pods take, and what the runtime's part of it is.

usage: hack/node numbers [PODS ...]
"""

import re
import time
from pathlib import Path

from hack.kubelet.node import Node, is_ready, scratch_node
from hack.kubelet.process import request
from tests.node.daemon import IMAGE, eventually

_SERIES = re.compile(r'^(\w+)_bucket\{(.*?),?le="([^"]+)"\} (\S+)$', re.M)


def histograms(text: str, name: str) -> dict[str, list[tuple[float, float]]]:
    """Buckets (upper bound, count so far) of a Prometheus histogram, by its other labels."""
    found: dict[str, list[tuple[float, float]]] = {}
    for metric, labels, bound, count in _SERIES.findall(text):
        if metric == name:
            found.setdefault(labels, []).append((float(bound), float(count)))
    return found


def quantile(buckets: list[tuple[float, float]], share: float) -> float:
    """Linear within the bucket, as histogram_quantile() of Prometheus."""
    wanted, below, start = share * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted:
            inside = (wanted - below) / (count - below) if count > below else 1
            return start + (min(bound, 3600.0) - start) * inside
        below, start = count, bound
    return start


def proportional(pid: int) -> float:
    """PSS of a process in MiB."""
    return int(Path(f"/proc/{pid}/smaps_rollup").read_text().split("Pss:")[1].split()[0]) / 1024


def at_rest(node: Node, seconds: float = 10) -> str:
    """CPU of the daemon while nothing happens, and memory of the daemon and of the monitors."""
    assert node.daemon.process
    pid = node.daemon.process.pid
    monitors = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _monitors(p, node)]

    def ticks() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(seconds)
    busy = (ticks() - before) / seconds
    pss = sum(map(proportional, monitors))
    return f"daemon {busy:.1f} % CPU, {proportional(pid):.0f} MiB PSS; {len(monitors)} monitors, {pss:.0f} MiB PSS"


def _monitors(process: Path, node: Node) -> bool:
    try:
        command = (process / "cmdline").read_bytes()
    except OSError:
        return False
    return b"conmon" in command.split(b"\0")[0] and str(node.directory).encode() in command


def measure(count: int) -> None:
    """`count` pods put at once on a node of its own."""
    sleeper = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "1000000"]}
    names = [f"n{number}" for number in range(count)]
    with scratch_node() as node:
        started = time.monotonic()
        for name in names:
            node.put(name, {"containers": [sleeper], "terminationGracePeriodSeconds": 0})

        def ready() -> bool:
            pods = node.pods()
            return all(is_ready(pods.get(name, {})) for name in names)

        eventually(ready, "all are Ready", 300)
        print(f"{count} pods: all Ready after {time.monotonic() - started:.2f} s")
        time.sleep(2)
        text = request("/metrics").decode()
        for metric in ("kubelet_pod_start_duration_seconds", "kubelet_pleg_relist_duration_seconds",
                       "kubelet_runtime_operations_duration_seconds"):  # fmt: skip
            for labels, buckets in sorted(histograms(text, metric).items()):
                if buckets[-1][1]:
                    shown = f"p50 {quantile(buckets, 0.5) * 1000:.0f} ms, p99 {quantile(buckets, 0.99) * 1000:.0f} ms"
                    print(f"  {metric} {labels} {shown} of {buckets[-1][1]:.0f}")
        print(f"  at rest: {at_rest(node)}")
