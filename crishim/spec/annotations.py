"""annotations, root, ociVersion: the parts of a spec that are copied."""

from typing import Final

from crishim.linux import slices
from crishim.spec.inputs import Draft, Inputs, security_context

# containerd's keys, which debuggers and tracers read in a container's spec.
_PREFIX: Final = "io.kubernetes.cri."
# Annotations that change how the runtime itself runs; a pod must not set them.
_RUNTIMES_OWN: Final = ("run.oci.", "org.systemd.property.", "org.criu.")
_RUNTIMES_OWN_NAMES: Final = frozenset({"bundle"})


def annotations(draft: Draft, inputs: Inputs) -> None:
    """annotations: the container's own, then the names of its pod and image."""
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
    names = {_PREFIX + key: value for key, value in belongs.items() if value}
    draft.spec["annotations"] = own | names | (slices.ANNOTATIONS if by_systemd else {})


def _is_unsafe(key: str, unsafe: tuple[str, ...]) -> bool:
    """Whether a key is in our lists or in the runtime's features: whole keys, or prefixes ending in a dot."""
    listed = any(key.startswith(u) if u.endswith(".") else key == u for u in unsafe)
    return listed or key in _RUNTIMES_OWN_NAMES or key.startswith(_RUNTIMES_OWN)


def root(draft: Draft, inputs: Inputs) -> None:
    draft.spec["root"] = {"path": inputs.rootfs, "readonly": security_context(inputs).readonly_rootfs}


def oci_version(draft: Draft, inputs: Inputs) -> None:
    """The newest version of the runtime's features; without features the base's, an old one."""
    newest = (inputs.features or {}).get("ociVersionMax")
    if newest:
        draft.spec["ociVersion"] = newest
