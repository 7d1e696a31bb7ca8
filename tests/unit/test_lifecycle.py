"""The lives of pods and containers: every state and every step."""

import itertools

import pytest

from crishim import lifecycle
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import CONTAINER_TRANSITIONS, POD_TRANSITIONS, ContainerState, PodState

POD_STEPS = {
    ("creating", "ready"),
    ("creating", "stopping"),
    ("creating", "removing"),
    ("ready", "stopping"),
    ("ready", "notready"),
    ("stopping", "notready"),
    ("notready", "stopping"),
    ("notready", "removing"),
}
CONTAINER_STEPS = {
    ("creating", "created"),
    ("creating", "removing"),
    ("created", "starting"),
    ("created", "exited"),
    ("created", "removing"),
    ("starting", "running"),
    ("starting", "exited"),
    ("starting", "created"),
    ("running", "exited"),
    ("exited", "removing"),
    ("unknown", "exited"),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(PodState, PodState)))
def test_every_step_of_a_pod(before: PodState, after: PodState) -> None:
    """A pod goes where the table lets it, stays where it is, and nowhere else."""
    if before == after or (before, after) in POD_STEPS:
        lifecycle.check_pod(before, after)
        return
    with pytest.raises(CrishimError, match=f"a pod cannot go from {before} to {after}") as caught:
        lifecycle.check_pod(before, after)
    assert caught.value.kind is Kind.INTERNAL


@pytest.mark.parametrize(("before", "after"), list(itertools.product(ContainerState, ContainerState)))
def test_every_step_of_a_container(before: ContainerState, after: ContainerState) -> None:
    """A container goes where the table lets it, stays where it is, and nowhere else."""
    if before == after or (before, after) in CONTAINER_STEPS:
        lifecycle.check_container(before, after)
        return
    with pytest.raises(CrishimError, match=f"a container cannot go from {before} to {after}"):
        lifecycle.check_container(before, after)


def test_every_life_can_end() -> None:
    """From each state there is a way to REMOVING, the only state with no way out; both tables name every state."""
    for table, end in ((POD_TRANSITIONS, PodState.REMOVING), (CONTAINER_TRANSITIONS, ContainerState.REMOVING)):
        assert set(table) == set(type(end))
        assert [state for state, steps in table.items() if not steps] == [end]
        for state in table:
            reached, fresh = {state}, {state}
            while fresh:
                fresh = {after for before in fresh for after in table[before]} - reached  # type: ignore[index]
                reached |= fresh
            assert end in reached


@pytest.mark.parametrize(
    ("question", "yes"),
    [
        (lifecycle.can_host_containers, {PodState.READY}),
        (lifecycle.is_visible_pod, set(PodState) - {PodState.CREATING, PodState.REMOVING}),
    ],
)
def test_questions_about_pods(question, yes) -> None:  # type: ignore[no-untyped-def]
    """Each question has a yes for exactly these states."""
    assert {state for state in PodState if question(state)} == yes


@pytest.mark.parametrize(
    ("question", "yes"),
    [
        (lifecycle.can_start, {ContainerState.CREATED}),
        (
            lifecycle.has_process,
            {ContainerState.CREATED, ContainerState.STARTING, ContainerState.RUNNING, ContainerState.UNKNOWN},
        ),
        (
            lifecycle.is_visible_container,
            set(ContainerState) - {ContainerState.CREATING, ContainerState.REMOVING},
        ),
    ],
)
def test_questions_about_containers(question, yes) -> None:  # type: ignore[no-untyped-def]
    """Each question has a yes for exactly these states."""
    assert {state for state in ContainerState if question(state)} == yes
