"""A pod with network devices: none, one, eight, and the floor beside it, which moves the same links with ip(8)."""

import contextlib
import statistics
import time
from collections.abc import Iterator

from hack.benchmark import floor
from hack.benchmark.calls import Row, milliseconds
from hack.benchmark.contestants import Contestant
from tests.support.isolation import ip, remove_link
from tests.support.pods import annotated, container_config, create, pod_config, remove_pod, run_pod

COUNTS = (0, 1, 8)


@contextlib.contextmanager
def links(count: int) -> Iterator[list[str]]:
    """Veth links that are up, their peers on the host."""
    names = [f"cb{number}" for number in range(count)]
    for name in names:
        ip("link", "add", name, "type", "veth", "peer", "name", f"{name}p")
        ip("link", "set", name, "up")
    try:
        yield names
    finally:
        for name in names:
            remove_link(name)


def row(count: int) -> str:
    return f"pod and container with {count} network device{'' if count == 1 else 's'}"


def started(one: Contestant, devices: list[str]) -> float:
    """ms until a container of a pod with the devices runs; the pod is gone again."""
    wanted = annotated(**{name: f"net{number}" for number, name in enumerate(devices, 1)}) if devices else {}
    config = pod_config(annotations=wanted)
    began = time.perf_counter()
    pod = run_pod(one.daemon, config, one.handler)
    container = create(one.daemon, pod, container_config(command=["sleep", "1000000"]), config)
    one.daemon.call("StartContainer", container_id=container)
    taken = milliseconds(began)
    remove_pod(one.daemon, pod)
    return taken


def round_of(one: Contestant, times: int) -> Row:
    found: Row = {}
    for count in COUNTS:
        with links(count) as names:
            found[row(count)] = statistics.median(started(one, names) for _ in range(times))
    return found


def round_of_floor(runtime: str, times: int) -> Row:
    found: Row = {}
    for count in COUNTS:
        with links(count) as names:
            found[row(count)] = floor.measured(runtime, times, names)["start"]
    return found
