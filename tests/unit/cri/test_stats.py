"""Which containers and pods are measured."""

from typing import Any

import pytest

from crishim.cri.stats import container_groups, network_handles, select_containers, select_pods
from crishim.lifecycle import ContainerState, PodState
from crishim.model import NamespacePaths
from crishim.pb import cri_pb2 as cri
from tests.unit.cri.records import container, pod

CONTAINERS = [
    container("aa1", "p1", labels={"x": "1"}, created_at=1),
    container("aa2", "p2", labels={"x": "1", "y": "2"}, created_at=2),
    container("bb1", "p1", state=ContainerState.EXITED, created_at=3),
    container("bb2", "p1", state=ContainerState.CREATING, created_at=4),
    container("bb3", "p1", state=ContainerState.REMOVING, created_at=5),
]
PODS = [
    pod("p1", labels={"x": "1"}, created_at=1),
    pod("p2", state=PodState.NOTREADY, created_at=2),
    pod("p3", state=PodState.CREATING),
    pod("q1", namespaces=NamespacePaths(), created_at=3),
    pod("q2", state=PodState.REMOVING),
]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({}, ["bb1", "aa2", "aa1"]),
        ({"id": "aa"}, ["aa2", "aa1"]),
        ({"id": "aa1"}, ["aa1"]),
        ({"pod_sandbox_id": "p1"}, ["bb1", "aa1"]),
        ({"label_selector": {"x": "1"}}, ["aa2", "aa1"]),
        ({"label_selector": {"x": "1", "y": "2"}}, ["aa2"]),
        ({"id": "aa", "pod_sandbox_id": "p1", "label_selector": {"x": "1"}}, ["aa1"]),
        ({"label_selector": {"x": "9"}}, []),
    ],
)
def test_container_filters_combine(wanted: dict[str, Any], ids: list[str]) -> None:
    """Id, pod and labels all have to match; no filter is all; newest first, neither half-made nor half-gone ones."""
    chosen = select_containers(CONTAINERS, cri.ContainerStatsFilter(**wanted))
    assert [c.id for c in chosen] == ids


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({}, ["q1", "p2", "p1"]),
        ({"id": "p"}, ["p2", "p1"]),
        ({"id": "p1", "label_selector": {"x": "1"}}, ["p1"]),
        ({"id": "p2", "label_selector": {"x": "1"}}, []),
    ],
)
def test_pod_filters_combine(wanted: dict[str, Any], ids: list[str]) -> None:
    """Id and labels both have to match; no filter is all that a List shows."""
    assert [p.id for p in select_pods(PODS, cri.PodSandboxStatsFilter(**wanted))] == ids


def test_only_containers_with_processes_have_a_cgroup_to_read() -> None:
    """Usage counts from the start of the command; before it, from the creation."""
    waiting = container("cc1", state=ContainerState.CREATED, started_at=0, created_at=7)
    groups = container_groups([*CONTAINERS[:3], waiting])
    assert [(g.key, g.cgroup, g.since) for g in groups[:1]] == [("aa1", "/pods/p1/aa1", CONTAINERS[0].started_at)]
    assert [(g.key, g.since) for g in groups[2:]] == [("cc1", 7)]


def test_only_ready_pods_with_a_network_of_their_own_have_counters() -> None:
    """The host's counters are not a pod's, and a stopped pod has no namespace."""
    assert network_handles(PODS) == {"p1": "/run/p1/net"}
