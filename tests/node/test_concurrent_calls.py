"""Calls that meet each other on one pod, container or name."""

import concurrent.futures
import json
import time

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon, eventually
from tests.support.pods import (
    container_config,
    create,
    execute,
    pod_config,
    remove_pod,
    run_pod,
    start,
    status,
    wait_exited,
)

pytestmark = pytest.mark.node
Code = grpc.StatusCode


@pytest.mark.fact("CreateContainer")
def test_creates_against_a_stop(daemon: Daemon) -> None:
    """20 creates race a stop: each makes its container before, or is refused; none runs or is created afterwards."""
    pod = run_pod(daemon)

    def attempt(number: int) -> grpc.StatusCode | None:
        try:
            create(daemon, pod, container_config(f"c{number}"))
        except grpc.RpcError as error:
            return error.code()
        return None

    with concurrent.futures.ThreadPoolExecutor(21) as pool:
        creates = [pool.submit(attempt, n) for n in range(3)]
        eventually(lambda: any((daemon.state / "containers").iterdir()), "the first is being made")
        stop = pool.submit(daemon.call, "StopPodSandbox", pod_sandbox_id=pod)
        creates += [pool.submit(attempt, n) for n in range(3, 20)]
        codes = [c.result() for c in creates]
        stop.result()
    assert {None, Code.FAILED_PRECONDITION} == set(codes)
    listed = daemon.call("ListContainers", filter=cri.ContainerFilter(pod_sandbox_id=pod)).containers
    assert len(listed) == codes.count(None)
    assert {c.state for c in listed} <= {cri.CONTAINER_EXITED}
    remove_pod(daemon, pod)


@pytest.mark.fact("StopContainer")
def test_two_stops_with_different_timeouts(daemon: Daemon) -> None:
    """The shorter timeout of a second StopContainer takes effect; both return when the container has ended."""
    pod = run_pod(daemon)
    one = start(daemon, pod, container_config(command=["sh", "-c", "trap : TERM; while :; do sleep 0.05; done"]))
    eventually(lambda: execute(daemon, one, "true")[0] == 0, "it runs")
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        patient = pool.submit(daemon.call, "StopContainer", container_id=one, timeout=60)
        hasty = pool.submit(daemon.call, "StopContainer", container_id=one, timeout=1)
        hasty.result()
        patient.result()
    assert 0.9 < time.monotonic() - began < 10
    assert status(daemon, one).exit_code == 137
    remove_pod(daemon, pod)


@pytest.mark.fact("a retried RunPodSandbox")
def test_one_name_many_times(daemon: Daemon) -> None:
    """Ten equal RunPodSandbox, then ten equal CreateContainer at once: one pod, one container, one answer."""
    config = pod_config("same")
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        pods = {f.result() for f in [pool.submit(run_pod, daemon, config) for _ in range(10)]}
        assert len(pods) == 1
        pod = pods.pop()
        made = {f.result() for f in [pool.submit(create, daemon, pod) for _ in range(10)]}
        assert len(made) == 1
        stops = [pool.submit(daemon.call, "StopPodSandbox", pod_sandbox_id=pod) for _ in range(5)]
        stops += [pool.submit(daemon.call, "RemovePodSandbox", pod_sandbox_id=pod) for _ in range(5)]
        for stop in stops:
            stop.result()
    assert pod not in {p.id for p in daemon.call("ListPodSandbox").items}


def test_twenty_pods_at_once(daemon: Daemon) -> None:
    """20 pods started and removed in parallel leave nothing; each has addresses of its own."""

    def life(number: int) -> str:
        pod = run_pod(daemon, handler=("crun", "runc")[number % 2])
        address = str(daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status.network.ip)
        one = start(daemon, pod, container_config(command=["sh", "-c", f"exit {number}"]))
        assert wait_exited(daemon, one).exit_code == number
        remove_pod(daemon, pod)
        return address

    before = len(json.loads(daemon.crictl("pods", "-o", "json"))["items"])
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert len(set(pool.map(life, range(20)))) == 20
    assert len(json.loads(daemon.crictl("pods", "-o", "json"))["items"]) == before
