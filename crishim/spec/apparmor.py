"""AppArmor: process.apparmorProfile, from the request and from what this host has loaded.

An unset field with an empty deprecated one, like an empty struct, is RuntimeDefault (linux/apparmor.py loads it); if
there is no default, no profile. A profile asked for by name fails if it is not loaded.
"""

from pathlib import Path

from crishim.errors import CrishimError, Kind
from crishim.linux.apparmor import parse_profiles
from crishim.pb import cri_pb2 as cri
from crishim.spec.inputs import Draft, Host, Inputs, security_context


def apparmor(draft: Draft, inputs: Inputs) -> None:
    """process.apparmorProfile. A privileged container gets no default profile, but one asked for by name."""
    context = security_context(inputs)
    kind, name = requested(context)
    host = inputs.host
    if kind == cri.SecurityProfile.Localhost:
        _require(name, host)
        draft.spec["process"]["apparmorProfile"] = name
    elif wants_default(context) and host.apparmor:
        if host.apparmor_default:
            draft.spec["process"]["apparmorProfile"] = host.apparmor_default
        else:
            draft.notes.append("there is no default AppArmor profile: containers run unconfined by AppArmor")
    elif kind == cri.SecurityProfile.Unconfined and host.apparmor:
        draft.spec["process"]["apparmorProfile"] = "unconfined"


def wants_default(context: cri.LinuxContainerSecurityContext) -> bool:
    """Whether a container is to have the runtime's default profile."""
    return not context.privileged and requested(context)[0] == cri.SecurityProfile.RuntimeDefault


def requested(context: cri.LinuxContainerSecurityContext) -> tuple[int, str]:
    """(kind of profile, name): the apparmor field if it is set, else the deprecated string."""
    profile = cri.SecurityProfile
    if context.HasField("apparmor"):
        return context.apparmor.profile_type, context.apparmor.localhost_ref.removeprefix("localhost/")
    old = context.apparmor_profile
    if old in ("", "runtime/default"):
        return profile.RuntimeDefault, ""
    if old == "unconfined":
        return profile.Unconfined, ""
    if old.startswith("localhost/"):
        return profile.Localhost, old.removeprefix("localhost/")
    raise CrishimError(Kind.INVALID, f"{old!r} is no AppArmor profile: localhost/NAME is meant?", profile=old)


def _require(name: str, host: Host) -> None:
    if not host.apparmor:
        raise CrishimError(
            Kind.PRECONDITION,
            f"the AppArmor profile {name!r} is asked for, but this node has no AppArmor",
            profile=name,
        )
    try:
        loaded = parse_profiles(Path(host.apparmor_profiles).read_text())
    except OSError as error:
        raise CrishimError(
            Kind.PRECONDITION, f"cannot tell which AppArmor profiles are loaded: {error.strerror}", profile=name
        ) from error
    if name not in loaded:
        raise CrishimError(Kind.PRECONDITION, f"the AppArmor profile {name!r} is not loaded", profile=name)
