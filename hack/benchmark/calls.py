"""The rows of `critest -benchmark`, ten pods at once, and pulls of an image that is there: one round of one contestant.

A round gives one value a row, the median of its calls in ms.
"""

import json
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from crishim.pb import cri_pb2 as cri
from hack.benchmark.contestants import Contestant
from tests.support.daemon import test_program
from tests.support.pods import container_config, create, remove_pod, run_pod

Row = dict[str, float]
BUSYBOX = "registry.k8s.io/e2e-test-images/busybox:1.29-2"
START, STOP, REMOVE, END = (
    "CreatePod + CreateContainer + StartContainer",
    "StopContainer",
    "RemoveContainer",
    "StopPod + RemovePod",
)
TOGETHER, TOGETHER_GONE = "10 pods at once, until all run", "10 pods at once, until all are gone"
HANGS = 180  # seconds: its own bound does not always end it, and with CRI-O it hangs
UNCHANGED = "PullImage, unchanged"
# Row of the table: critest's operations, whose medians are added.
ROWS = {
    START: ("CreatePod", "CreateContainer", "StartContainer"),
    STOP: ("StopContainer",),
    REMOVE: ("RemoveContainer",),
    END: ("StopPod", "RemovePod"),
    "StatusPod, verbose": ("StatusPod",),
    "StatusContainer": ("StatusContainer",),
    "StatusImage": ("StatusImage",),
    "ListImages": ("ListImages",),
    "PullImage, 9 MB": ("PullImage",),
    "RemoveImage": ("RemoveImage",),
}


def critest(one: Contestant, times: int) -> Row:
    """critest's own benchmark, one call after the other, `times` of each."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        directory = Path(name)
        parameters = directory / "parameters.yaml"
        parameters.write_text(
            f"containersNumber: {times}\ncontainersNumberParallel: 1\npodsNumber: {times}\npodsNumberParallel: 1\n"
            f"imagesNumber: {times}\nimagesNumberParallel: 1\nimagePullingBenchmarkImage: {BUSYBOX}\n"
        )
        endpoint = f"unix://{one.daemon.socket}"
        command = [test_program("critest"), f"-runtime-endpoint={endpoint}", f"-image-endpoint={endpoint}"]
        command += ["-benchmark", f"-benchmarking-params-file={parameters}", f"-benchmarking-output-dir={directory}"]
        command += ["-ginkgo.no-color"] + ([f"-runtime-handler={one.handler}"] if one.handler else [])
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory, timeout=HANGS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"critest's benchmark hangs: ended after {HANGS} s") from None
        assert done.returncode == 0, f"critest's benchmark fails: {cause(done.stdout + done.stderr)}"
        return rows([json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))])


def cause(output: str) -> str:
    """The line of critest's output that says why it failed."""
    lines = [line.strip() for line in output.splitlines()]
    told = [line for line in lines if "panic: " in line or "rpc error" in line]
    return (told or lines or [""])[0][:300]


def rows(reports: list[dict[str, Any]]) -> Row:
    """Rows of critest's reports: names of operations, and for each time the durations in ns in their order."""
    calls: dict[str, list[float]] = {}
    for report in reports:
        for point in report["datapoints"]:
            for name, nanoseconds in zip(report["operationsNames"], point["operationsDurationsNs"], strict=True):
                calls.setdefault(str(name), []).append(nanoseconds / 1e6)
    middle = {name: statistics.median(values) for name, values in calls.items()}
    return {row: sum(middle[part] for part in parts) for row, parts in ROWS.items() if set(parts) <= set(middle)}


def milliseconds(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def together(one: Contestant, count: int = 10) -> Row:
    """So many pods with one container each, asked for at once, and taken away at once."""

    def made(_: int) -> str:
        config = one.pod_config()
        pod = run_pod(one.daemon, config, one.handler)
        container = create(one.daemon, pod, container_config(command=["sleep", "1000000"]), config)
        one.daemon.call("StartContainer", container_id=container)
        return pod

    with ThreadPoolExecutor(count) as pool:
        began = time.perf_counter()
        pods = list(pool.map(made, range(count)))
        run = milliseconds(began)
        began = time.perf_counter()
        list(pool.map(lambda pod: remove_pod(one.daemon, pod), pods))
    return {TOGETHER: run, TOGETHER_GONE: milliseconds(began)}


def unchanged(one: Contestant, times: int) -> Row:
    """What imagePullPolicy Always asks for each time: a pull of an image that is there."""
    found = []
    for _ in range(times + 1):  # the first one may have to fetch it
        began = time.perf_counter()
        one.daemon.call("PullImage", image=cri.ImageSpec(image=BUSYBOX))
        found.append(milliseconds(began))
    return {UNCHANGED: statistics.median(found[1:])}
