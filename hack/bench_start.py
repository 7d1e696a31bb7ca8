"""How long a daemon's start takes to its first answers and to the end of recovery, and what it holds at rest.

usage: hack/bench start [ROUNDS] [PODS]     Nothing here is a test: what else the machine does is in the times.

PODS: on the host's network, one container each, all alive while the daemon is not. The process starts at 0; a client
connects as soon as the socket is there.
"""

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from crishim.pb import cri_pb2 as cri
from hack.benchmark.ground import as_installed
from tests.support.daemon import Daemon, scratch_daemon
from tests.support.isolation import isolate
from tests.support.pods import container_config, pod_config, run_pod, start
from tests.support.turnover import pss

ROOT = Path(__file__).parents[1]
AT_REST = 2.0  # seconds after the start
POLL = 0.002  # seconds
ANSWERS = {"Status": cri.StatusRequest, "ListPodSandbox": cri.ListPodSandboxRequest}


def measured(daemon: Daemon) -> dict[str, float]:
    """ms from the start of the process to the first answer of each kind, and until it serves: recovery is complete."""
    began = time.perf_counter()
    offset = daemon.launch()
    found = first_answers(str(daemon.socket), began)
    daemon.wait_serving(offset, 120)
    found["serving"] = (time.perf_counter() - began) * 1000
    return found


def first_answers(path: str, began: float) -> dict[str, float]:
    """ms since `began` to the first answer of each kind from a daemon that starts."""
    while not listens(path):
        time.sleep(POLL)
    found = {}
    with grpc.insecure_channel(f"unix:{path}") as channel:
        for name, request in ANSWERS.items():
            ask = channel.unary_unary(f"/runtime.v1.RuntimeService/{name}")
            while not answers(ask, request().SerializeToString()):
                time.sleep(POLL)
            found[name] = (time.perf_counter() - began) * 1000
    return found


def answers(ask: Any, request: bytes) -> bool:
    """False while the daemon does not answer yet."""
    try:
        ask(request, timeout=60, wait_for_ready=True)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)  # noqa: PT017
        if error.code() != grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    return True


def listens(path: str) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as trial:
        trial.connect(path)
        return True
    return False


def make_pods(daemon: Daemon, count: int) -> None:
    archive = daemon.directory / "busybox.tar"
    subprocess.run([sys.executable, ROOT / "hack/build-images", "--demo", archive], check=True, capture_output=True)
    assert daemon.command("images", "import", str(archive)).returncode == 0

    def one(_: int) -> None:
        config = pod_config()
        config.linux.security_context.namespace_options.network = cri.NODE
        start(daemon, run_pod(daemon, config), container_config(command=["sleep", "1000000"]))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(count)))


def main() -> int:
    rounds, pods = (int(x) for x in (*sys.argv[1:], *("5", "0")[len(sys.argv) - 1 :]))
    isolate()
    as_installed()
    print(f"load average {os.getloadavg()[0]:.1f}, {pods} pods")
    times: list[dict[str, float]] = []
    with scratch_daemon(log={"level": "info", "format": "json"}) as daemon:
        make_pods(daemon, pods)
        held = []
        for _ in range(rounds):
            daemon.stop()
            times.append(measured(daemon))
            time.sleep(AT_REST)
            assert daemon.process is not None
            held.append(pss(daemon.process.pid) / 1024)
    for name in times[0]:
        spread = [t[name] for t in times]
        print(f"start to {name}, ms: median {statistics.median(spread):.0f}, {min(spread):.0f} to {max(spread):.0f}")
    print(f"PSS at rest, MB: median {statistics.median(held):.1f}, {min(held):.1f} to {max(held):.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
