"""cgroup limits: CRI's LinuxContainerResources as the OCI spec's linux.resources, for create and for update.

Zero and "" mean "not given" in CRI. The spec has cgroup v1's values (cpu.shares, memory+swap); the runtimes convert
them for v2. `unified` are v2's own files, written last, so they win.
"""

from collections.abc import Mapping
from typing import Any

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec.inputs import Draft, Host, Inputs

_UNLIMITED = -1


def resources(draft: Draft, inputs: Inputs) -> None:
    """linux.cgroupsPath and linux.resources, except its device rules (devices.py)."""
    linux = draft.spec["linux"]
    if inputs.cgroups_path:
        linux["cgroupsPath"] = inputs.cgroups_path
    linux["resources"] |= to_oci(inputs.config.linux.resources, inputs.host, draft.notes)
    if inputs.pids_limit > 0 and "pids" in inputs.host.controllers:
        linux["resources"]["pids"] = {"limit": inputs.pids_limit}


def to_oci(request: cri.LinuxContainerResources, host: Host, notes: list[str] | None = None) -> dict[str, Any]:
    """linux.resources for what is given; keys without a value are left out.

    PRECONDITION: unified on cgroup v1, a swap limit where the kernel does not count swap.
    """
    parts = {
        "cpu": _cpu(request),
        "memory": _memory(request, host),
        "hugepageLimits": _hugepages(request, host, notes if notes is not None else []),
        "unified": _unified(request, host),
    }
    return {key: value for key, value in parts.items() if value}


def merge(current: cri.LinuxContainerResources, update: cri.LinuxContainerResources) -> cri.LinuxContainerResources:
    """The resources after an update: each value it gives, else the current one (UpdateContainerResources).

    Hugepage limits replace those of the same size, unified entries those of the same file. A memory limit without a
    swap limit changes an equal swap limit too, so that memory+swap is never less than memory, which kernels refuse.
    """
    result = cri.LinuxContainerResources()
    result.CopyFrom(current)
    for field in ("cpu_period", "cpu_quota", "cpu_shares", "memory_limit_in_bytes", "oom_score_adj"):
        if getattr(update, field):
            setattr(result, field, getattr(update, field))
    for field in ("cpuset_cpus", "cpuset_mems"):
        if getattr(update, field):
            setattr(result, field, getattr(update, field))
    _merge_swap(result, current, update)
    sizes = {h.page_size: h.limit for h in current.hugepage_limits}
    sizes |= {h.page_size: h.limit for h in update.hugepage_limits}
    del result.hugepage_limits[:]
    result.hugepage_limits.extend(cri.HugepageLimit(page_size=s, limit=n) for s, n in sizes.items())
    result.unified.update(update.unified)
    return result


def _merge_swap(
    result: cri.LinuxContainerResources,
    current: cri.LinuxContainerResources,
    update: cri.LinuxContainerResources,
) -> None:
    if update.memory_swap_limit_in_bytes:
        result.memory_swap_limit_in_bytes = update.memory_swap_limit_in_bytes
    elif update.memory_limit_in_bytes and current.memory_swap_limit_in_bytes == current.memory_limit_in_bytes:
        result.memory_swap_limit_in_bytes = update.memory_limit_in_bytes


def _cpu(request: cri.LinuxContainerResources) -> dict[str, Any]:
    named = {
        "shares": request.cpu_shares,
        "quota": request.cpu_quota,
        "period": request.cpu_period,
        "cpus": request.cpuset_cpus,
        "mems": request.cpuset_mems,
    }
    return {key: value for key, value in named.items() if value}


def _memory(request: cri.LinuxContainerResources, host: Host) -> dict[str, int]:
    """limit, and memory+swap: no swap beside a limit unless asked for, as the kubelet's NoSwap default expects."""
    limit, swap = request.memory_limit_in_bytes, request.memory_swap_limit_in_bytes
    result: dict[str, int] = {}
    if limit:
        result["limit"] = limit
        if host.swap:
            result["swap"] = limit
    if swap:
        if limit > 0 and 0 < swap < limit:
            raise CrishimError(
                Kind.INVALID, f"memory_swap_limit_in_bytes {swap} is memory and swap together: at least {limit}"
            )
        if host.swap:
            result["swap"] = swap
        elif swap not in (limit, _UNLIMITED):
            raise CrishimError(Kind.PRECONDITION, "a swap limit is asked for, but this kernel does not count swap")
    return result


def _hugepages(request: cri.LinuxContainerResources, host: Host, notes: list[str]) -> list[dict[str, Any]]:
    """The kubelet sends a limit for every size of the node, mostly 0; without the controller those are left out."""
    limits = [{"pageSize": h.page_size, "limit": h.limit} for h in request.hugepage_limits]
    if limits and "hugetlb" not in host.controllers:
        if any(entry["limit"] for entry in limits):
            notes.append("hugepage limits are left out: the hugetlb cgroup controller is not there")
        return []
    return limits


def _unified(request: cri.LinuxContainerResources, host: Host) -> Mapping[str, str]:
    if request.unified and host.cgroup_version == 1:
        raise CrishimError(
            Kind.PRECONDITION,
            "unified resources are cgroup v2's, and this node has cgroup v1",
            key=min(request.unified),
        )
    return dict(request.unified)
