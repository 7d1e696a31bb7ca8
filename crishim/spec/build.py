"""A container's config.json: a list of small editors, each of which owns a few fields of the OCI runtime spec.

    bundles/base.json -> EDITORS, in order -> Built

An editor takes (draft, inputs), changes the draft, and raises CrishimError if the request cannot be carried out.
Blocks briefly (reads the image's passwd, stats devices): call it in a thread.
"""

import msgspec

from crishim import model
from crishim.spec import (
    annotations,
    apparmor,
    bundle,
    capabilities,
    command,
    devices,
    limits,
    mount_table,
    namespaces,
    proc_mounts,
    resources,
    seccomp,
    selinux,
    user,
)
from crishim.spec.inputs import Draft, Editor, Host, Inputs, Spec
from crishim.spec.mounts import ImageVolume, Prepared, resolve

__all__ = ["Built", "Editor", "Host", "ImageVolume", "Inputs", "Prepared", "Spec", "build", "resolve"]


class Built(msgspec.Struct, frozen=True):
    """The spec, and the user and notes that the editors found."""

    spec: Spec  # config.json, still to be changed by CDI and NRI
    user: model.User
    notes: tuple[str, ...]  # for the log: what was bounded or left out, and why

    def encode(self) -> bytes:
        """The bytes of config.json."""
        return msgspec.json.encode(self.spec)


# The order matters where one editor reads what another wrote: namespaces before mounts and sysctls, arguments and
# environment before the launcher's prefix, capabilities before seccomp, all mounts before their order.
EDITORS: tuple[Editor, ...] = (
    annotations.oci_version,
    annotations.root,
    annotations.annotations,
    namespaces.pod_shares_pids,
    namespaces.namespaces,
    namespaces.user_mappings,
    user.process_user,
    command.process_args,
    command.process_environment,
    command.process_cwd,
    command.process_terminal,
    capabilities.process_capabilities,
    limits.no_new_privileges,
    limits.oom_score,
    limits.rlimits,
    limits.masked_and_readonly_paths,
    limits.ipc_sysctls,
    apparmor.apparmor,
    selinux.selinux,
    seccomp.seccomp,
    devices.devices,
    resources.resources,
    mount_table.kernel_file_systems,
    mount_table.shared_memory,
    mount_table.pod_files,
    mount_table.container_mounts,
    mount_table.mount_order,
    mount_table.rootfs_propagation,
    proc_mounts.check_proc_mounts,
)


def build(inputs: Inputs) -> Built:
    """Make the complete spec of a container.

    Raises CrishimError: INVALID (the request can never work), NOT_FOUND (a user, group, device or profile),
    PRECONDITION (this host, this runtime or this pod cannot do it).
    """
    draft = Draft(spec=bundle.base())
    for edit in EDITORS:
        edit(draft, inputs)
    return Built(draft.spec, draft.user, tuple(draft.notes))
