"""The default validator: adjustments that the node's administrator forbids, whichever plugin makes them. Pure.

The settings are containerd's and CRI-O's. Each check takes the settings and the validators' request, and returns why
the adjustment is refused, or "". Source: github.com/containerd/nri v0.12.5, docs/validation-plugins.md.
"""

from collections.abc import Callable
from typing import NamedTuple

from crishim.pb import nri_pb2 as nri
from crishim.pb.nri import fields_pb2 as fields

REQUIRED_PLUGINS = "required-plugins.noderesource.dev"  # annotation: a YAML list of names
MAX_LISTED = 16 << 10  # bytes of that list
_TRUE = ("1", "t", "T", "TRUE", "true", "True")  # as Go reads a boolean
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class Validator(NamedTuple):
    """Settings. required_plugins: names without index; if one is missing, no container is created, except in pods whose
    annotation with the key tolerate_missing_plugins_annotation is true."""

    enable: bool = False
    reject_oci_hook_adjustment: bool = False
    reject_runtime_default_seccomp_adjustment: bool = False
    reject_unconfined_seccomp_adjustment: bool = False
    reject_custom_seccomp_adjustment: bool = False
    reject_namespace_adjustment: bool = False
    reject_sysctl_adjustment: bool = False
    required_plugins: tuple[str, ...] = ()
    tolerate_missing_plugins_annotation: str = ""


def refusal(settings: Validator, request: nri.ValidateContainerAdjustmentRequest) -> str:
    """Why the adjustment is refused; "" if it is not."""
    return next((why for check in CHECKS if (why := check(settings, request))), "") if settings.enable else ""


def effective_annotation(pod: nri.PodSandbox, key: str, container: str) -> str | None:
    """A pod's annotation for one container: KEY/container.NAME, else KEY/pod, else KEY."""
    keys = (f"{key}/container.{container}", f"{key}/pod", key)
    return next((pod.annotations[k] for k in keys if k in pod.annotations), None)


def _owners(request: nri.ValidateContainerAdjustmentRequest) -> nri.FieldOwners:
    owners = request.owners.owners
    return owners[request.container.id] if request.container.id in owners else nri.FieldOwners()


def _keys_owners(request: nri.ValidateContainerAdjustmentRequest, field: int) -> dict[str, str]:
    compound = _owners(request).compound
    return dict(sorted(compound[field].owners.items())) if field in compound else {}


def hooks(settings: Validator, request: nri.ValidateContainerAdjustmentRequest) -> str:
    owner = _owners(request).simple.get(fields.OciHooks)
    return f'"{owner}" added OCI hooks' if settings.reject_oci_hook_adjustment and owner else ""


def seccomp(settings: Validator, request: nri.ValidateContainerAdjustmentRequest) -> str:
    owner = _owners(request).simple.get(fields.SeccompPolicy)
    if not owner:
        return ""
    linux, profile = request.container.linux, nri.SecurityProfile
    kind = linux.seccomp_profile.profile_type if linux.HasField("seccomp_profile") else profile.UNCONFINED
    refused, name = {
        profile.RUNTIME_DEFAULT: (settings.reject_runtime_default_seccomp_adjustment, "the runtime's default"),
        profile.LOCALHOST: (settings.reject_custom_seccomp_adjustment, "a custom"),
    }.get(kind, (settings.reject_unconfined_seccomp_adjustment, "an unconfined"))
    return f'"{owner}" replaced {name} seccomp policy' if refused else ""


def namespaces(settings: Validator, request: nri.ValidateContainerAdjustmentRequest) -> str:
    owners = _keys_owners(request, fields.Namespace)
    if not settings.reject_namespace_adjustment or not owners:
        return ""
    return ", ".join(f'"{plugin}" changed the {kind} namespace' for kind, plugin in owners.items())


def sysctls(settings: Validator, request: nri.ValidateContainerAdjustmentRequest) -> str:
    owners = _keys_owners(request, fields.Sysctl)
    if not settings.reject_sysctl_adjustment or not owners:
        return ""
    return ", ".join(f'"{plugin}" changed the sysctl {key}' for key, plugin in owners.items())


def required_plugins(settings: Validator, request: nri.ValidateContainerAdjustmentRequest) -> str:
    container, required = request.container.name, list(settings.required_plugins)
    if key := settings.tolerate_missing_plugins_annotation:
        value = effective_annotation(request.pod, key, container)
        if value in _TRUE:
            return ""
        if value is not None and value not in _FALSE:
            return f"annotation {key} is neither true nor false"
    if (text := effective_annotation(request.pod, REQUIRED_PLUGINS, container)) is not None:
        listed = _names(text)
        if listed is None:
            return f"annotation {REQUIRED_PLUGINS} is no list of names"
        required += listed
    present = {plugin.name for plugin in request.plugins}
    missing = [name for name in dict.fromkeys(required) if name not in present]
    if not missing:
        return ""
    return f"required NRI plugin{'s' * (len(missing) > 1)} {', '.join(missing)} not there"


def _names(text: str) -> list[str] | None:
    """A YAML list of strings; None if it is not one."""
    import yaml  # 5 MB, for an annotation that is rare

    if len(text) > MAX_LISTED:
        return None
    try:
        found = yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, LookupError, AttributeError, OverflowError):
        return None
    found = [] if found is None else found
    return found if isinstance(found, list) and all(isinstance(name, str) for name in found) else None


CHECKS: tuple[Callable[[Validator, nri.ValidateContainerAdjustmentRequest], str], ...] = (
    hooks,
    seccomp,
    namespaces,
    required_plugins,
    sysctls,
)
