"""The start of a daemon over pods that run, to the first answered Status; and what daemon and monitors hold then."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

from hack.bench_start import first_answers
from hack.benchmark.calls import Row
from hack.benchmark.contestants import Contestant
from tests.support.pods import container_config, create, run_pod
from tests.support.turnover import pss

MEMORY = 100  # pods at which memory is looked at
DAEMON = f"daemon with {MEMORY} pods, PSS in MB"
EACH = f"a pod of {MEMORY}, PSS in MB without its container"


def row(pods: int) -> str:
    return f"start with {pods} pods to the first Status"


def fill(one: Contestant, first: int, last: int) -> None:
    """Pods on the host's network with one container each."""

    def made(number: int) -> None:
        config = one.pod_config(f"full{number}", host_network=True)
        pod = run_pod(one.daemon, config, one.handler)
        container = create(one.daemon, pod, container_config(command=["sleep", "1000000"]), config)
        one.daemon.call("StartContainer", container_id=container)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(made, range(first, last)))


def restarted(one: Contestant, pods: int) -> Row:
    """One restart. A peer answers before recovery, or after it: what counts is the answer."""
    one.daemon.stop()
    began = time.perf_counter()
    offset = one.daemon.launch()
    found = first_answers(str(one.daemon.socket), began)
    one.daemon.wait_serving(offset, 120)
    return {row(pods): found["Status"]}


def memory(one: Contestant) -> Row:
    """PSS of the daemon, and of all monitors (conmon, shims) by the pod; what runs in containers is not counted."""
    assert one.daemon.process is not None
    monitors = [int(line.split()[0]) for line in one.daemon.left()["processes"]]
    each = sum(pss(pid) for pid in monitors if pid != one.daemon.process.pid) / MEMORY
    return {DAEMON: statistics.median(pss(one.daemon.process.pid) for _ in range(3)) / 1024, EACH: each / 1024}
