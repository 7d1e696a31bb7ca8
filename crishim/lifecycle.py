"""The states of pods and containers, and tables of the transitions between them.

One enum each, which includes the transient states; no code infers a state from timestamps or flags. From a transient
state on disk after a crash recover.py knows which operation to finish or undo.

    pod        CREATING -> READY -> STOPPING -> NOTREADY -> REMOVING
    container  CREATING -> CREATED -> STARTING -> RUNNING -> EXITED -> REMOVING

A container has no STOPPING: one that is being stopped is RUNNING until it has exited. UNKNOWN is never on disk: a
running container whose pod is not known (operations/adopt.py).
"""

from enum import StrEnum

from crishim.errors import CrishimError, Kind


class PodState(StrEnum):
    CREATING = "creating"
    READY = "ready"
    STOPPING = "stopping"  # also after a stop that failed half-way, until the next
    NOTREADY = "notready"
    REMOVING = "removing"


class ContainerState(StrEnum):
    CREATING = "creating"
    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"
    REMOVING = "removing"
    UNKNOWN = "unknown"


POD_TRANSITIONS: dict[PodState, frozenset[PodState]] = {
    PodState.CREATING: frozenset({PodState.READY, PodState.STOPPING, PodState.REMOVING}),
    PodState.READY: frozenset({PodState.STOPPING, PodState.NOTREADY}),  # NOTREADY: a reboot removed its namespaces
    PodState.STOPPING: frozenset({PodState.NOTREADY}),
    PodState.NOTREADY: frozenset({PodState.STOPPING, PodState.REMOVING}),  # a second stop is allowed and does nothing
    PodState.REMOVING: frozenset(),
}

CONTAINER_TRANSITIONS: dict[ContainerState, frozenset[ContainerState]] = {
    ContainerState.CREATING: frozenset({ContainerState.CREATED, ContainerState.REMOVING}),
    ContainerState.CREATED: frozenset({ContainerState.STARTING, ContainerState.EXITED, ContainerState.REMOVING}),
    # back to CREATED: recovery found that the runtime had not started it
    ContainerState.STARTING: frozenset({ContainerState.RUNNING, ContainerState.EXITED, ContainerState.CREATED}),
    ContainerState.RUNNING: frozenset({ContainerState.EXITED}),
    ContainerState.EXITED: frozenset({ContainerState.REMOVING}),
    ContainerState.REMOVING: frozenset(),
    ContainerState.UNKNOWN: frozenset({ContainerState.EXITED}),
}


def check_pod(before: PodState, after: PodState) -> None:
    """Raise INTERNAL unless a pod may go from `before` to `after`; staying is always allowed."""
    if before != after and after not in POD_TRANSITIONS[before]:
        raise CrishimError(Kind.INTERNAL, f"a pod cannot go from {before} to {after}")


def check_container(before: ContainerState, after: ContainerState) -> None:
    """Raise INTERNAL unless a container may go from `before` to `after`; staying is always allowed."""
    if before != after and after not in CONTAINER_TRANSITIONS[before]:
        raise CrishimError(Kind.INTERNAL, f"a container cannot go from {before} to {after}")


def can_host_containers(state: PodState) -> bool:
    """Whether CreateContainer may add a container to a pod in this state."""
    return state is PodState.READY


def can_start(state: ContainerState) -> bool:
    return state is ContainerState.CREATED


def has_process(state: ContainerState) -> bool:
    """Whether a container in this state may have a process of its own on the node."""
    return state in (
        ContainerState.CREATED,
        ContainerState.STARTING,
        ContainerState.RUNNING,
        ContainerState.UNKNOWN,
    )


def is_visible_pod(state: PodState) -> bool:
    """Whether List and Status show a pod: once RunPodSandbox has succeeded, until RemovePodSandbox has."""
    return state not in (PodState.CREATING, PodState.REMOVING)


def is_visible_container(state: ContainerState) -> bool:
    """As is_visible_pod(): once CreateContainer has succeeded, until RemoveContainer has."""
    return state not in (ContainerState.CREATING, ContainerState.REMOVING)
