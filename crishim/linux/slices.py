"""cgroups that systemd makes: a pod's is a slice, a container's a scope in it. systemd.slice(5), systemd.scope(5).

With the systemd driver the OCI runtime asks systemd for the scope, and systemd makes the slices that it names. Where a
client names no cgroup, the pod has a slice of its own below that of the settings.
"""

import logging
from typing import Final

from crishim.errors import CrishimError
from crishim.linux import programs

# crun would make a group `container` in the scope for the processes (crun(1)): what we write to the scope's files
# (restored limits, the freezer) and what crun writes to that group's would contradict each other. runc makes none.
ANNOTATIONS: Final = {"run.oci.systemd.subgroup": ""}
_TIMEOUT = 30.0  # seconds systemd may take to stop a slice in which nothing is left

log = logging.getLogger("crishim.slices")


def name(path: str) -> str:
    """The slice's name, of a path as kubelets give it: a-b.slice of /a.slice/a-b.slice."""
    return path.rstrip("/").rpartition("/")[2]


def expand(path: str) -> str:
    """The path of a slice: systemd nests slices by the dashes in their names, a-b.slice is /a.slice/a-b.slice."""
    parts = name(path).removesuffix(".slice").split("-")
    return "".join(f"/{'-'.join(parts[: i + 1])}.slice" for i in range(len(parts)))


def parent(path: str, systemd: bool) -> str:
    """pods.cgroup_parent of the settings for the cgroup driver: for systemd /crishim is /crishim.slice."""
    return expand(path) if systemd else path


def of_pod(parent: str, pod_id: str) -> str:
    """The cgroup of a pod below the settings' one: below a slice it is a slice."""
    if not parent.endswith(".slice"):
        return f"{parent}/{pod_id}"
    return f"{parent}/{name(parent).removesuffix('.slice')}-{pod_id}.slice"


def of_container(pod_cgroup: str, id: str, systemd: bool) -> str:
    """A container's cgroup below the root of each hierarchy."""
    return f"{expand(pod_cgroup)}/crishim-{id}.scope" if systemd else f"{pod_cgroup}/{id}"


def is_scope(cgroup: str) -> bool:
    """Whether a container's cgroup is a systemd scope: systemd removes it with its last process."""
    return cgroup.endswith(".scope")


def oci_path(pod_cgroup: str, id: str, systemd: bool) -> str:
    """linux.cgroupsPath of a container's config.json: slice:prefix:name for systemd, in crun and runc."""
    return f"{name(pod_cgroup)}:crishim:{id}" if systemd else f"{pod_cgroup}/{id}"


async def stop(path: str) -> None:
    """Have systemd remove a slice, which it keeps after the last scope. Fine if there is none of that name."""
    try:
        await programs.run(["systemctl", "stop", name(path)], timeout=_TIMEOUT, check=False)
    except CrishimError as error:  # the pod is removed nevertheless; the unit only stays in systemctl's list
        log.warning("systemd keeps a pod's slice: %s", error.message, extra={"cgroup": path})
