"""Namespaces: joined by the paths the pod has pinned, made anew, or left out (the node's). namespaces(7).

A user namespace is joined by its path alone. runc before 1.2 also needs the namespace's mappings; runc from 1.2 on
warns that it will refuse them; crun takes both. `features` has mountExtensions from runc 1.2 on.
"""

from typing import Any

from crishim import model
from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec.inputs import Draft, Inputs, security_context
from crishim.spec.mounts import render_mappings

_MODE_NAME: dict[int, str] = {cri.POD: "POD", cri.CONTAINER: "CONTAINER", cri.NODE: "NODE", cri.TARGET: "TARGET"}


def namespaces(draft: Draft, inputs: Inputs) -> None:
    """linux.namespaces; the mount namespace is in the base."""
    pins = inputs.record.namespaces
    options = effective_options(inputs.config, inputs.pod)
    joined = [
        _network(options, pins),
        _ipc(options, pins),
        _joined("uts", pins.uts),
        _pid(options, pins, inputs.target),
        _joined("user", pins.user),
        _cgroup(inputs),
    ]
    draft.spec["linux"]["namespaces"] += [n for n in joined if n]


def user_mappings(draft: Draft, inputs: Inputs) -> None:
    """linux.uidMappings and gidMappings, only for a runtime that does not read them from the namespace it joins."""
    if not inputs.record.namespaces.user or knows_idmap_field(inputs):
        return
    options = inputs.pod.linux.security_context.namespace_options.userns_options
    draft.spec["linux"]["uidMappings"] = render_mappings(options.uids)
    draft.spec["linux"]["gidMappings"] = render_mappings(options.gids)


def effective_options(config: cri.ContainerConfig, pod: cri.PodSandboxConfig) -> cri.NamespaceOption:
    """The container's namespace options; those of its pod if the request has none."""
    context = config.linux.security_context
    if context.HasField("namespace_options"):
        return context.namespace_options
    return pod.linux.security_context.namespace_options


def knows_idmap_field(inputs: Inputs) -> bool:
    """Whether the runtime's `features` has mountExtensions, as of runc 1.2 and newer."""
    return "mountExtensions" in ((inputs.features or {}).get("linux") or {})


def has_own(spec: dict[str, Any], kind: str) -> bool:
    """Whether a spec's container is not in the node's namespace of this kind."""
    return any(n["type"] == kind for n in spec["linux"]["namespaces"])


def _joined(kind: str, path: str) -> dict[str, str] | None:
    return {"type": kind, "path": path} if path else None


def _network(options: cri.NamespaceOption, pins: model.NamespacePaths) -> dict[str, str] | None:
    if options.network not in (cri.POD, cri.NODE) or (options.network == cri.NODE and pins.net):
        raise _mismatch("network", options.network, bool(pins.net))
    return _joined("network", pins.net)


def _ipc(options: cri.NamespaceOption, pins: model.NamespacePaths) -> dict[str, str] | None:
    if options.ipc == cri.CONTAINER:
        return {"type": "ipc"}
    if options.ipc == cri.TARGET or (options.ipc == cri.NODE and pins.ipc):
        raise _mismatch("IPC", options.ipc, bool(pins.ipc))
    return _joined("ipc", pins.ipc)


def _pid(options: cri.NamespaceOption, pins: model.NamespacePaths, target: str) -> dict[str, str] | None:
    match options.pid:
        case cri.CONTAINER:
            return {"type": "pid"}
        case cri.NODE:
            return None
        case cri.TARGET if target:
            return {"type": "pid", "path": target}
        case cri.TARGET:
            raise CrishimError(
                Kind.PRECONDITION,
                f"the container {options.target_id!r} whose PID namespace is asked for does not run in this pod",
                target=options.target_id,
            )
    return _joined("pid", pins.pid)


def pod_shares_pids(draft: Draft, inputs: Inputs) -> None:
    """Refuse POD mode where the pod has no PID namespace to share: the container would get the node's."""
    options = effective_options(inputs.config, inputs.pod)
    pods = inputs.pod.linux.security_context.namespace_options
    if options.pid == cri.POD and not inputs.record.namespaces.pid and pods.pid != cri.NODE:
        raise CrishimError(
            Kind.PRECONDITION, "the container asks for its pod's PID namespace, but the pod was made without one"
        )


def _cgroup(inputs: Inputs) -> dict[str, str] | None:
    """A cgroup namespace on v2, as other runtimes have it. Not on v1, nor if privileged, which has the host's.

    In a user namespace cgroup2 can only be mounted by the owner of the cgroup namespace.
    """
    privileged = security_context(inputs).privileged and not inputs.record.namespaces.user
    return {"type": "cgroup"} if inputs.host.cgroup_version == 2 and not privileged else None


def _mismatch(kind: str, mode: int, pod_has_one: bool) -> CrishimError:
    has = "has one of its own" if pod_has_one else "uses the node's"
    return CrishimError(
        Kind.INVALID, f"a container cannot have the {kind} namespace mode {_MODE_NAME[mode]}: its pod {has}"
    )
