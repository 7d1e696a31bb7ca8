"""The mounts of a spec: the base's, the pod's files, /dev/shm, the container's own, in the order they are made."""

import posixpath
from typing import Any

from crishim.pb import cri_pb2 as cri
from crishim.spec.inputs import Draft, Inputs, security_context
from crishim.spec.mounts import entry
from crishim.spec.namespaces import has_own

_SHM_SIZE = "65536k"


def kernel_file_systems(draft: Draft, inputs: Inputs) -> None:
    """/sys, cgroup and mqueue as the container's privileges and namespaces allow them.

    In a user namespace, sysfs cannot be mounted without a network namespace of its own, nor mqueue without an IPC
    namespace: the node's are bind-mounted instead.
    """
    own_users = has_own(draft.spec, "user")
    for mount in draft.spec["mounts"]:
        if security_context(inputs).privileged and mount["destination"] in ("/sys", "/sys/fs/cgroup"):
            mount["options"] = [o for o in mount["options"] if o != "ro"]
        if own_users and mount["type"] == "sysfs" and not has_own(draft.spec, "network"):
            mount |= {"type": "bind", "source": "/sys", "options": ["rbind", "rprivate", *mount["options"]]}
        if own_users and mount["type"] == "mqueue" and not has_own(draft.spec, "ipc"):
            mount |= {"type": "bind", "source": "/dev/mqueue", "options": ["bind", "rprivate", *mount["options"]]}


def shared_memory(draft: Draft, inputs: Inputs) -> None:
    """/dev/shm: the pod's, shared by its containers; the node's with host IPC; else a tmpfs beside an IPC namespace."""
    flags = ["nosuid", "noexec", "nodev"]
    private = any(n["type"] == "ipc" and "path" not in n for n in draft.spec["linux"]["namespaces"])
    source = inputs.shm_path or ("" if has_own(draft.spec, "ipc") else "/dev/shm")
    if source and not private:
        mount = {"type": "bind", "source": source, "options": ["rbind", "rprivate", *flags]}
    else:
        mount = {"type": "tmpfs", "source": "shm", "options": [*flags, "mode=1777", f"size={_SHM_SIZE}"]}
    draft.spec["mounts"].append({"destination": "/dev/shm", **mount})


def pod_files(draft: Draft, inputs: Inputs) -> None:
    """/etc/hostname, /etc/hosts and /etc/resolv.conf of the pod; read-only where the root file system is."""
    access = "ro" if security_context(inputs).readonly_rootfs else "rw"
    files = {
        "/etc/hostname": inputs.hostname_path,
        "/etc/hosts": inputs.hosts_path,
        "/etc/resolv.conf": inputs.resolv_conf_path,
    }
    draft.spec["mounts"] += [
        {"destination": target, "type": "bind", "source": source, "options": ["bind", "rprivate", access]}
        for target, source in files.items()
        if source
    ]


def container_mounts(draft: Draft, inputs: Inputs) -> None:
    """The request's mounts; one with the destination of an earlier entry replaces it."""
    own = [entry(mount) for mount in inputs.mounts]
    taken = {mount["destination"] for mount in own}
    draft.spec["mounts"] = [m for m in draft.spec["mounts"] if m["destination"] not in taken] + own


def mount_order(draft: Draft, inputs: Inputs) -> None:
    """Outer before inner, so that none is hidden by a later one; otherwise in the same order."""
    draft.spec["mounts"].sort(key=_depth)


def rootfs_propagation(draft: Draft, inputs: Inputs) -> None:
    """linux.rootfsPropagation: a mount can only propagate as far as the root mount lets it."""
    modes = {mount.request.propagation for mount in inputs.mounts}
    if cri.PROPAGATION_BIDIRECTIONAL in modes:
        draft.spec["linux"]["rootfsPropagation"] = "rshared"
    elif cri.PROPAGATION_HOST_TO_CONTAINER in modes:
        draft.spec["linux"]["rootfsPropagation"] = "rslave"


def _depth(mount: dict[str, Any]) -> int:
    return posixpath.normpath(str(mount["destination"])).count("/")
