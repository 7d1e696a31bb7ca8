"""Limits of the process: no_new_privs, oom_score_adj, rlimits, masked and read-only paths; the pod's IPC sysctls."""

from crishim.errors import CrishimError, Kind
from crishim.spec.inputs import Draft, Host, Inputs, security_context
from crishim.sysctls import is_ipc_sysctl


def no_new_privileges(draft: Draft, inputs: Inputs) -> None:
    draft.spec["process"]["noNewPrivileges"] = security_context(inputs).no_new_privs


def oom_score(draft: Draft, inputs: Inputs) -> None:
    """process.oomScoreAdj, only if the request has resources."""
    if not inputs.config.linux.HasField("resources"):
        return
    asked = inputs.config.linux.resources.oom_score_adj
    draft.spec["process"]["oomScoreAdj"] = clamp_oom_score(asked, inputs.host, draft.notes)


def clamp_oom_score(asked: int, host: Host, notes: list[str]) -> int:
    """The value that can be set, at least host.oom_floor. INVALID outside -1000 to 1000 (proc_pid_oom_score_adj(5)).

    notes: gets a line if it differs.
    """
    if not -1000 <= asked <= 1000:
        raise CrishimError(Kind.INVALID, f"oom_score_adj must be between -1000 and 1000, not {asked}")
    given = max(asked, host.oom_floor)
    if given != asked:
        notes.append(f"oom_score_adj {asked} becomes {given}: without CAP_SYS_RESOURCE the daemon cannot go lower")
    return given


def rlimits(draft: Draft, inputs: Inputs) -> None:
    """process.rlimits: the daemon's, explicitly: the runtimes raise their own, which containers would inherit."""
    limits = inputs.host.rlimits
    if limits:
        draft.spec["process"]["rlimits"] = [
            {"type": name, "soft": _unsigned(soft), "hard": _unsigned(hard)}
            for name, (soft, hard) in sorted(limits.items())
        ]


def masked_and_readonly_paths(draft: Draft, inputs: Inputs) -> None:
    """linux.maskedPaths and readonlyPaths.

    The lists of the security context, also empty ones, which are procMount Unmasked (the kubelet sends the default
    lists otherwise). The base's lists are for requests without a security context. Privileged has none.
    """
    context, linux = security_context(inputs), draft.spec["linux"]
    if context.privileged:
        linux["maskedPaths"], linux["readonlyPaths"] = [], []
    elif inputs.config.linux.HasField("security_context"):
        linux["maskedPaths"] = list(context.masked_paths)
        linux["readonlyPaths"] = list(context.readonly_paths)


def ipc_sysctls(draft: Draft, inputs: Inputs) -> None:
    """linux.sysctl: the pod's IPC settings for a container with an IPC namespace of its own.

    All other sysctls were set when the pod's namespaces were made, and a container joins those.
    """
    if any(n["type"] == "ipc" and "path" not in n for n in draft.spec["linux"]["namespaces"]):
        own = {name: value for name, value in inputs.pod.linux.sysctls.items() if is_ipc_sysctl(name)}
        if own:
            draft.spec["linux"]["sysctl"] = own


def _unsigned(limit: int) -> int:
    """RLIM_INFINITY is -1 in Python and 2^64-1 in the spec."""
    return limit & 0xFFFFFFFFFFFFFFFF
