"""Lists: filters and batches."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cri import containers, pods
from crishim.cri.batches import batches
from crishim.cri.filters import selects_labels
from crishim.lifecycle import ContainerState, PodState
from crishim.pb import cri_pb2 as cri
from tests.unit.cri.records import container, pod

LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"))


@given(LABELS, LABELS)
def test_selectors(selector: dict[str, str], labels: dict[str, str]) -> None:
    """Every pair of the selector has to be there, with an equal value."""
    assert selects_labels(selector, labels) == (selector.items() <= labels.items())


@given(st.integers(0, 250), st.integers(1, 120))
def test_batches(count: int, size: int) -> None:
    """Each item once, in order, at most `size` in one, none empty."""
    items = [cri.Image(id=str(n)) for n in range(count)]
    made = list(batches(items, size))
    assert list(itertools.chain.from_iterable(made)) == items
    assert all(1 <= len(batch) <= size for batch in made)
    assert len(made) == -(-count // size)


POD_STATES = {PodState.READY: cri.SANDBOX_READY} | dict.fromkeys(
    (PodState.STOPPING, PodState.NOTREADY), cri.SANDBOX_NOTREADY
)
PODS = [
    pod(f"{number:x}{'0' * 63}", state=state, created_at=number, labels={"app": "web" if number % 2 else "db"})
    for number, state in enumerate(PodState)
]


@pytest.mark.parametrize("state", [None, cri.SANDBOX_READY, cri.SANDBOX_NOTREADY])
@pytest.mark.parametrize("app", [None, "web", "db", "none"])
@pytest.mark.parametrize("id", ["", "1", "10000", "f"])
def test_pods(state: Any, app: str | None, id: str) -> None:
    """id AND state AND labels; newest first; a pod that is being made or removed is not there."""
    wanted = cri.PodSandboxFilter(id=id, label_selector={"app": app} if app else {})
    if state is not None:
        wanted.state.state = state
    expected = [
        p.id
        for p in reversed(PODS)
        if p.state in POD_STATES
        and p.id.startswith(id)
        and (state is None or POD_STATES[p.state] == state)
        and (app is None or p.parse_config().labels["app"] == app)
    ]
    assert [p.id for p in pods.select(PODS, wanted)] == expected


CONTAINERS = [
    container(f"{n:x}{'0' * 63}", f"{n % 2}{'f' * 63}", state=state, created_at=n, labels={"app": f"{n % 3}"})
    for n, state in enumerate([*ContainerState, *ContainerState])
]


@pytest.mark.parametrize("state", [None, *cri.ContainerState.values()])
@pytest.mark.parametrize("app", [None, "0", "x"])
@pytest.mark.parametrize("pod_id", ["", "1", "1" + "f" * 63, "2"])
def test_containers(state: Any, app: str | None, pod_id: str) -> None:
    """Pod AND state AND labels; STARTING shows as CREATED; newest first."""
    wanted = cri.ContainerFilter(pod_sandbox_id=pod_id, label_selector={"app": app} if app else {})
    if state is not None:
        wanted.state.state = state
    expected = [
        c.id
        for c in reversed(CONTAINERS)
        if c.state not in (ContainerState.CREATING, ContainerState.REMOVING)
        and c.pod_id.startswith(pod_id)
        and (state is None or containers.STATES[c.state] == state)
        and (app is None or c.parse_config().labels["app"] == app)
    ]
    assert [c.id for c in containers.select(CONTAINERS, wanted)] == expected


def test_an_empty_filter_is_all_that_is_visible() -> None:
    """Attempts are not shown, nor what was removed; everything else is."""
    assert len(containers.select(CONTAINERS, cri.ContainerFilter())) == len(CONTAINERS) - 4
    assert len(pods.select(PODS, cri.PodSandboxFilter())) == len(PODS) - 2
