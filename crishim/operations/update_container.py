"""UpdateContainerResources: set new limits of a created or running container, all of them or none.

    NRI plugins -> merge with what is in force -> check -> save the cgroup files
    -> runtime update, huge pages, oom score -> record

The record is written last: after a crash before that, the new limits are in force without a response, and the client's
retry sets them again.
"""

import errno
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from crishim.engine.runtime import Runtime
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.linux import cgroup_limits, executors, oom_scores
from crishim.model import ContainerRecord
from crishim.node import Node
from crishim.operations import nri_events
from crishim.operations.rollback import Rollback
from crishim.pb import cri_pb2 as cri
from crishim.pb import nri_pb2 as nri
from crishim.spec.limits import clamp_oom_score
from crishim.spec.nri_resources import merge as merge_oci
from crishim.spec.nri_resources import to_cri
from crishim.spec.nri_resources import to_oci as plugins_to_oci
from crishim.spec.resources import merge, to_oci

_UNSET: dict[str, dict[str, int]] = {  # the kernel's default for a limit that is not set
    "cpu": {"shares": 1024, "quota": -1, "period": 100_000},
    "memory": {"limit": -1, "swap": -1},
}
UPDATABLE = (ContainerState.CREATED, ContainerState.STARTING, ContainerState.RUNNING)


async def update_container(node: Node, id: str, update: cri.LinuxContainerResources) -> None:
    """Set the given values, as NRI plugins change them; those that are 0, "" or absent stay as they are.

    Raises NOT_FOUND, INVALID for invalid values, PRECONDITION for a container that has exited and for what this host
    cannot limit, and a plugin's refusal. After an error the old limits are in force.
    """
    container = node.containers.find(id)
    async with node.locks.holding(container.id):
        container = _updatable(node, container.id)
        answer = await nri_events.container_updates(node, container, update)
        if answer is not None:
            score, update = update.oom_score_adj, to_cri(answer.resources)
            update.oom_score_adj = score  # which plugins neither see nor set
        await _put_in_force(node, container, update, answer.resources if answer else None)
        await nri_events.container_updated(node, container)
    if answer is not None:
        await node.nri.apply(answer.changes)


async def update_resources(
    node: Node, id: str, update: cri.LinuxContainerResources, of_plugin: nri.LinuxResources
) -> None:
    """As update_container(), for an NRI plugin, without asking plugins. of_plugin: with fields CRI does not have."""
    async with node.locks.holding(id):
        await _put_in_force(node, _updatable(node, id), update, of_plugin)


def _updatable(node: Node, id: str) -> ContainerRecord:
    container = node.containers.find(id)
    if container.state not in UPDATABLE or container.restore:
        state = "not restored yet" if container.restore else container.state
        raise CrishimError(
            Kind.PRECONDITION,
            f"container {container.id[:13]} is {state}: it has no resources to update",
            container=container.id,
        )
    return container


async def _put_in_force(
    node: Node, container: ContainerRecord, update: cri.LinuxContainerResources, of_plugin: nri.LinuxResources | None
) -> None:
    """Set all limits or none; the record last."""
    current = cri.LinuxContainerResources.FromString(container.resources)
    merged = merge(current, update)
    limits = to_oci(merged, node.host)
    if of_plugin is not None:
        merge_oci(limits, plugins_to_oci(of_plugin, node.host))
    if any(pages.limit for pages in update.hugepage_limits) and "hugetlb" not in node.host.controllers:
        raise CrishimError(Kind.PRECONDITION, "huge pages cannot be limited: the hugetlb controller is not there")
    # A score that is not given is not clamped again: it was at its last change.
    notes: list[str] = []
    score = clamp_oom_score(update.oom_score_adj, node.host, notes) if update.oom_score_adj else None
    node.launcher.say_once(notes, container.id)
    cgroup = container.cgroup
    async with Rollback() as rollback:
        if touches_cgroup(update) or of_plugin is not None:
            saved = await executors.kernel(cgroup_limits.save, cgroup, list(merged.unified))
            rollback.push("the limits", lambda: executors.kernel(cgroup_limits.restore, saved))
            runtime = node.handlers.get(container.handler)
            if runtime.systemd:  # systemd's reload would undo a change of the files alone
                former = former_values(limits, to_oci(current, node.host))
                rollback.push("the unit's properties", lambda: runtime.update(container.id, former))
            await _set_limits(container, runtime, limits)
        if score is not None:
            scores = await executors.processes(oom_scores.read, cgroup)
            rollback.push("oom_score_adj", lambda: executors.processes(oom_scores.restore, cgroup, scores))
            await executors.processes(_set_oom_score, container, score)
        resources = merged.SerializeToString(deterministic=True)
        await node.containers.update(container.id, lambda c: replace(c, resources=resources))


def former_values(limits: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, dict[str, int | str]]:
    """OCI resources that undo an update of CPU and memory. limits: the update; before: the resources in force."""
    former = {}
    for part, unset in _UNSET.items():
        values = unset | before.get(part, {})
        former[part] = {key: values[key] for key in limits.get(part, {}) if key in values}
    return {part: values for part, values in former.items() if values}


def touches_cgroup(update: cri.LinuxContainerResources) -> bool:
    """Whether an update sets anything but oom_score_adj."""
    return any(field.name != "oom_score_adj" for field, _ in update.ListFields())


async def _set_limits(container: ContainerRecord, runtime: Runtime, limits: dict[str, Any]) -> None:
    """Have the runtime set OCI resources, and set what it cannot: runc's update has no huge pages, crun 1.8's no
    unlimited CPU quota (with systemd that is left to the runtime, as the unit would restore the old one)."""
    pages = {entry["pageSize"]: entry["limit"] for entry in limits.pop("hugepageLimits", [])}
    cpu = limits.get("cpu", {})
    lift = cpu.get("quota", 0) < 0 and not runtime.systemd
    period = cpu.get("period", 0)
    if lift:
        limits["cpu"] = {key: value for key, value in cpu.items() if key not in ("quota", "period")}
    try:
        if any(limits.values()):
            await runtime.update(container.id, limits)
        if lift:
            await executors.kernel(cgroup_limits.lift_cpu_quota, container.cgroup, period)
    except OSError as error:
        raise CrishimError(
            Kind.PRECONDITION, f"container {container.id[:13]} cannot get an unlimited CPU quota: {error.strerror}"
        ) from error
    except CrishimError as error:
        raise CrishimError(kind_of_refusal(error), error.message, **error.facts) from error
    await executors.kernel(cgroup_limits.set_huge_pages, container.cgroup, pages)


def kind_of_refusal(error: CrishimError) -> Kind:
    """INVALID or PRECONDITION for a limit that a runtime cannot set, by the kernel's error in its message."""
    message = error.message.lower()
    if any(word in message for word in ("out of range", "invalid argument", "numerical result")):
        return Kind.INVALID
    if any(word in message for word in ("busy", "unable to set memory limit", "permission denied")):
        return Kind.PRECONDITION
    return error.kind


def _set_oom_score(container: ContainerRecord, score: int) -> None:
    try:
        oom_scores.write(container.cgroup, score)
    except OSError as error:
        kind = Kind.PRECONDITION if error.errno in (errno.EACCES, errno.EPERM) else Kind.INTERNAL
        raise CrishimError(
            kind, f"container {container.id[:13]} cannot get oom_score_adj {score}: {error.strerror}"
        ) from error
