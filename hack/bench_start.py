"""A daemon without pods: how long its start takes to the first answered Status, and what it holds at rest.

usage: hack/bench start [ROUNDS]     Nothing here is a test: what else the machine does is in the times.
"""

import contextlib
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import grpc

from crishim.pb import cri_pb2 as cri
from hack.bench import pss
from tests.support.daemon import Daemon, scratch_daemon
from tests.support.isolation import isolate

AT_REST = 2.0  # seconds after the start


def first_status(daemon: Daemon) -> float:
    """Seconds from the start of the process to the first Status that is answered."""
    began = time.perf_counter()
    daemon.launch()
    while not listens(str(daemon.socket)):
        time.sleep(0.002)
    with grpc.insecure_channel(f"unix:{daemon.socket}") as channel:
        status = channel.unary_unary(
            "/runtime.v1.RuntimeService/Status",
            request_serializer=cri.StatusRequest.SerializeToString,
            response_deserializer=cri.StatusResponse.FromString,
        )
        while not answers(lambda: status(cri.StatusRequest(), timeout=20, wait_for_ready=True)):
            time.sleep(0.002)
    return time.perf_counter() - began


def answers(ask: Callable[[], object]) -> bool:
    """False while the daemon recovers."""
    try:
        ask()
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


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    isolate()
    # As installed: the set-up's environment keeps no compiled modules, and a start would compile all of them.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(Path.home() / ".cache/crishim/pycache")
    print(f"load average {os.getloadavg()[0]:.1f}")
    with scratch_daemon() as daemon:
        times, held = [], []
        for _ in range(rounds):
            daemon.stop()
            times.append(first_status(daemon) * 1000)
            time.sleep(AT_REST)
            assert daemon.process is not None
            held.append(pss(daemon.process.pid))
    print(f"start to the first Status, ms: median {statistics.median(times):.0f}, {min(times):.0f} to {max(times):.0f}")
    print(f"PSS at rest, MB: median {statistics.median(held):.1f}, {min(held):.1f} to {max(held):.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
