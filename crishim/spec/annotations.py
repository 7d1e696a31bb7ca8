"""annotations, root, ociVersion, netDevices: the parts of a spec that are copied rather than decided."""

from typing import Final

from crishim.linux import slices
from crishim.spec.inputs import Draft, Inputs, security_context

# Keys containerd writes, which tools that look at a running container's spec (debuggers, tracers) know.
_PREFIX: Final = "io.kubernetes.cri."
# Annotations by which a runtime lets a config.json change how it runs itself; nothing in a pod may.
_RUNTIMES_OWN: Final = ("run.oci.", "org.systemd.property.", "org.criu.")
_RUNTIMES_OWN_NAMES: Final = frozenset({"bundle"})


def annotations(draft: Draft, inputs: Inputs) -> None:
    """annotations: the container's own, then where it belongs to."""
    unsafe = tuple((inputs.features or {}).get("potentiallyUnsafeConfigAnnotations") or ())
    own = {k: v for k, v in inputs.config.annotations.items() if not _is_unsafe(k, unsafe)}
    pod, container = inputs.pod.metadata, inputs.config.metadata
    image = inputs.config.image
    belongs = {
        "container-type": "container",
        "container-name": container.name,
        "sandbox-id": inputs.record.id,
        "sandbox-name": pod.name,
        "sandbox-namespace": pod.namespace,
        "sandbox-uid": pod.uid,
        "image-name": image.user_specified_image or image.image,
    }
    by_systemd = bool(inputs.cgroups_path) and not inputs.cgroups_path.startswith("/")
    told = {_PREFIX + key: value for key, value in belongs.items() if value}
    draft.spec["annotations"] = own | told | (slices.ANNOTATIONS if by_systemd else {})


def _is_unsafe(key: str, told: tuple[str, ...]) -> bool:
    """Ours, and what the runtime's features name: whole keys, or prefixes ending in a dot."""
    listed = any(key.startswith(t) if t.endswith(".") else key == t for t in told)
    return listed or key in _RUNTIMES_OWN_NAMES or key.startswith(_RUNTIMES_OWN)


def root(draft: Draft, inputs: Inputs) -> None:
    draft.spec["root"] = {"path": inputs.rootfs, "readonly": security_context(inputs).readonly_rootfs}


def oci_version(draft: Draft, inputs: Inputs) -> None:
    """The newest version the runtime knows; the base's, an old one, for a runtime that does not say."""
    newest = (inputs.features or {}).get("ociVersionMax")
    if newest:
        draft.spec["ociVersion"] = newest
