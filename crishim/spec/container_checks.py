"""Checks of a ContainerConfig, alone and in its pod: one function each, which returns the problem or None."""

from collections.abc import Callable

from crishim.pb import cri_pb2 as cri
from crishim.spec import mount_rules
from crishim.spec.checks import bad_id, too_large, unusable_name, user_namespace_mode


def container_has_metadata(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    return None if c.HasField("metadata") else "the metadata is missing"


def container_fits_into_a_list(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    return too_large(c, c.image)


def container_name_is_usable(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    return unusable_name("name", c.metadata.name)


def container_has_image(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    return None if c.image.image else "no image is named"


def container_log_path_is_inside(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    path = c.log_path
    bad = path.startswith("/") or ".." in path.split("/") or not path.isprintable()
    return f"the log path {path!r} must stay below the pod's log directory" if bad else None


def container_strings_have_no_nul(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    texts = [*c.command, *c.args, c.working_dir, *(e.key for e in c.envs)]
    bad = any("\0" in text for text in texts) or any(b"\0" in e.value for e in c.envs)
    return "a NUL in the command, the environment or the directory cannot be passed to a process" if bad else None


def container_variables_have_names(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    bad = [e.key for e in c.envs if not e.key or "=" in e.key]
    return f"{bad[0]!r} is no name of a variable" if bad else None


def container_directory_is_absolute(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    good = not c.working_dir or c.working_dir.startswith("/")
    return None if good else f"the working directory {c.working_dir!r} must be an absolute path"


def container_user_is_named_once(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    context = c.linux.security_context
    both = context.HasField("run_as_user") and context.run_as_username
    return "only one of run_as_user and run_as_username can be given" if both else None


def container_group_needs_user(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    context = c.linux.security_context
    user = context.HasField("run_as_user") or context.run_as_username
    missing = context.HasField("run_as_group") and not user
    return "run_as_group needs run_as_user or run_as_username" if missing else None


def container_ids_are_in_range(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    context = c.linux.security_context
    return bad_id([context.run_as_user.value, context.run_as_group.value, *context.supplemental_groups])


def container_groups_policy_is_known(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    policy = c.linux.security_context.supplemental_groups_policy
    return None if policy in (cri.Merge, cri.Strict) else f"unknown supplemental groups policy {policy}"


def container_privilege_is_the_pods(c: cri.ContainerConfig, pod: cri.PodSandboxConfig) -> str | None:
    wrong = c.linux.security_context.privileged and not pod.linux.security_context.privileged
    return "a privileged container needs a pod that was made as privileged" if wrong else None


def container_user_namespace_is_pod_or_node(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    return user_namespace_mode(c.linux.security_context.namespace_options)


def container_profiles_are_known(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    context, kinds = c.linux.security_context, cri.SecurityProfile
    for name in ("seccomp", "apparmor"):
        profile = getattr(context, name)
        if profile.profile_type not in (kinds.RuntimeDefault, kinds.Unconfined, kinds.Localhost):
            return f"unknown {name} profile type {profile.profile_type}"
        if profile.profile_type == kinds.Localhost and not profile.localhost_ref:
            return f"a localhost {name} profile needs localhost_ref"
    return None


def container_fences_are_absolute(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    context = c.linux.security_context
    bad = [p for p in (*context.masked_paths, *context.readonly_paths) if not p.startswith("/") or "\0" in p]
    return f"the masked or read-only path {bad[0]!r} must be absolute" if bad else None


def container_devices_are_usable(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    for device in c.devices:
        if not device.host_path.startswith("/"):
            return f"the device {device.host_path!r} must be an absolute host path"
        if device.container_path and not device.container_path.startswith("/"):
            return f"the device path {device.container_path!r} must be absolute"
        if not set(device.permissions) <= set("rwm"):
            return f"the permissions {device.permissions!r} of {device.host_path} are not made of r, w and m"
    return None


def container_resources_are_sane(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    r = c.linux.resources
    if r.cpu_period < 0 or r.cpu_shares < 0:
        return "cpu_period and cpu_shares cannot be negative"
    if r.memory_limit_in_bytes < -1 or r.memory_swap_limit_in_bytes < -1:
        return "a memory limit cannot be negative, except -1 for none"
    if not -1000 <= r.oom_score_adj <= 1000:
        return f"oom_score_adj must be between -1000 and 1000, not {r.oom_score_adj}"
    bad = [name for name in r.unified if "/" in name or not name or name.startswith(".")]
    return f"{bad[0]!r} is no cgroup file" if bad else None


def container_signal_is_known(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    known = c.stop_signal in cri.Signal.values()
    return None if known else f"unknown stop signal {c.stop_signal}"


def container_mounts_are_sane(c: cri.ContainerConfig, _: cri.PodSandboxConfig) -> str | None:
    return mount_rules.first_problem(c.mounts)


CONTAINER_CHECKS: tuple[Callable[[cri.ContainerConfig, cri.PodSandboxConfig], str | None], ...] = (
    container_has_metadata,
    container_fits_into_a_list,
    container_name_is_usable,
    container_has_image,
    container_log_path_is_inside,
    container_strings_have_no_nul,
    container_variables_have_names,
    container_directory_is_absolute,
    container_user_is_named_once,
    container_group_needs_user,
    container_ids_are_in_range,
    container_groups_policy_is_known,
    container_privilege_is_the_pods,
    container_user_namespace_is_pod_or_node,
    container_profiles_are_known,
    container_fences_are_absolute,
    container_devices_are_usable,
    container_resources_are_sane,
    container_signal_is_known,
    container_mounts_are_sane,
)
