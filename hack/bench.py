"""Benchmarks: critest's own operations on a scratch daemon, and the memory of daemon and pods at rest.

The reference column is containerd 2.4.2 with runc 1.5.2 and the same CNI configuration on the same kind of machine (two
cores), medians in ms. Absolute times depend on the machine and on what else it does: compare runs made one after the
other. Nothing here is a test.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from crishim.pb import cri_pb2 as cri
from hack.critest import registries_conf, registry
from tests.support.daemon import Daemon, scratch_daemon, test_program
from tests.support.isolation import isolate
from tests.support.pods import container_config, pod_config, remove_pod, run_pod, start

REFERENCE = {
    "CreatePod": 93.0,
    "CreateContainer": 3.3,
    "StartContainer": 40.0,
    "StatusContainer": 0.8,
    "StopContainer": 36.0,
    "StopPod": 130.0,
    "RemovePod": 19.0,
    "PullImage": 169.0,
}
BUSYBOX = "registry.k8s.io/e2e-test-images/busybox:1.29-2"


def operations(daemon: Daemon, directory: Path, handler: str, pods: int) -> dict[str, list[float]]:
    """Durations in ms by operation, from critest's JSON."""
    parameters = directory / "params.yaml"
    parameters.write_text(
        f"containersNumber: {pods}\ncontainersNumberParallel: 1\npodsNumber: {pods}\npodsNumberParallel: 1\n"
        f"imagesNumber: 10\nimagesNumberParallel: 1\nimagePullingBenchmarkImage: {BUSYBOX}\n"
    )
    out = directory / "bench"
    out.mkdir()
    endpoint = f"unix://{daemon.socket}"
    command = [test_program("critest"), f"-runtime-endpoint={endpoint}", f"-image-endpoint={endpoint}", "-benchmark"]
    command += [f"-benchmarking-params-file={parameters}", f"-benchmarking-output-dir={out}", "-ginkgo.no-color"]
    command += [f"-runtime-handler={handler}"] if handler else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-3000:], file=sys.stderr)
    found: dict[str, list[float]] = {}
    for path in sorted(out.glob("*.json")):
        data = json.loads(path.read_text())
        names = data["operationsNames"]
        for point in data["datapoints"]:
            for name, nanoseconds in zip(names, point["operationsDurationsNs"], strict=True):
                found.setdefault(name, []).append(nanoseconds / 1e6)
    return found


def pss(pid: int) -> float:
    """Proportional set size of a process, in MB (proc_pid_smaps(5))."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def memory(daemon: Daemon, handler: str, count: int = 10) -> None:
    """Print what daemon and pods hold at rest."""
    assert daemon.process is not None
    idle = pss(daemon.process.pid)
    wish = container_config(command=["sleep", "3600"])
    wish.image.image = BUSYBOX
    pods = [run_pod(daemon, pod_config(), handler) for _ in range(count)]
    for pod in pods:
        start(daemon, pod, wish)
    monitors = [int(line.split()[0]) for line in daemon.left()["processes"]]
    each = sum(pss(pid) for pid in monitors) / count
    print(f"\ndaemon: {idle:.1f} MB PSS idle, {pss(daemon.process.pid):.1f} MB with {count} pods")
    print(f"pod with one container: {each:.2f} MB PSS ({len(monitors) / count:.0f} process beside the container's own)")
    for pod in pods:
        remove_pod(daemon, pod)


def steps(daemon: Daemon) -> None:
    """Print where the daemon's own time goes, from its log."""
    times: dict[str, list[float]] = {}
    for line in daemon.logged():
        if line.get("message") == "step":
            times.setdefault(f"{line.get('rpc')}: {line['step']}", []).append(line["ms"])
        elif line.get("message") == "answered":
            times.setdefault(str(line.get("rpc")), []).append(line["ms"])
    print("\nin the daemon, ms              median      max    calls")
    for name, values in sorted(times.items()):
        print(f"{name:30} {statistics.median(values):7.1f} {max(values):8.1f} {len(values):8}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=40, help="pods and containers to time")
    parser.add_argument("--handler", default="", help="runtime handler (crun, runc)")
    known = parser.parse_args()
    isolate()
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="crishim-bench-", dir=base) as name:
        directory = Path(name)
        with registry(directory) as address:
            settings = {"images": {"registries_conf": str(registries_conf(directory, address))}}
            with scratch_daemon(**settings) as daemon:
                daemon.call("PullImage", image=cri.ImageSpec(image=BUSYBOX))
                found = operations(daemon, directory, known.handler, known.pods)
                print("ms                  median      min      max   runs  reference")
                for operation, values in found.items():
                    low, high = min(values), max(values)
                    reference = REFERENCE.get(operation)
                    ratio = f"{reference:9.1f}  x{statistics.median(values) / reference:.2f}" if reference else ""
                    middle = statistics.median(values)
                    print(f"{operation:18} {middle:7.1f} {low:8.1f} {high:8.1f} {len(values):6}  {ratio}")
                memory(daemon, known.handler)
                steps(daemon)
    return 0


if __name__ == "__main__":
    sys.exit(main())
