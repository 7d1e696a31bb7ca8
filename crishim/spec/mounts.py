"""CRI mounts, resolved on the host: sources that exist, propagation the kernel will accept, image volumes, options.

Each request is checked by mount_rules.py; resolve() then finds its source, and entry() makes its entry in config.json.
"""

import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from crishim import model
from crishim.errors import CrishimError, Kind
from crishim.linux import directories, paths, pod_paths
from crishim.linux import mounts as kernel_mounts
from crishim.linux.mounts import MountPoint
from crishim.pb import cri_pb2 as cri
from crishim.spec.mount_rules import PROPAGATION, check, is_image


class ImageVolume(msgspec.Struct, frozen=True, kw_only=True):
    """An image the caller has mounted for a volume."""

    directory: str  # where it is mounted, read-only
    image_id: str
    image_ref: str  # digest reference, for ContainerStatus


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A CRI mount and its source on this host."""

    request: cri.Mount
    source: str  # symlinks resolved; of an image volume: the directory (or its sub path) in the mounted image
    image_id: str = ""
    image_ref: str = ""

    def record(self) -> model.ResolvedMount:
        """The mount in the container's record."""
        return model.ResolvedMount(
            container_path=self.request.container_path,
            host_path="" if self.image_id else self.source,
            image_id=self.image_id,
            image_ref=self.image_ref,
        )


def resolve(
    requests: Sequence[cri.Mount],
    volumes: Mapping[str, ImageVolume],  # by container_path
    *,
    create_missing: bool,
    features: Mapping[str, Any] | None,
) -> tuple[Prepared, ...]:
    """Check and resolve the mounts of a container. Blocks: call it in a thread.

    create_missing: make a directory where a host path does not exist (hostPath type ""), else NOT_FOUND.
    Raises INVALID for a request that contradicts itself or has too long a path, PRECONDITION for what this host or
    runtime cannot do, and UNKNOWN with the prefix ImageVolumeMountFailed (the kubelet reads it) for an image volume's
    sub path.
    """
    for path in (p for m in requests for p in (m.container_path, m.host_path)):
        paths.check_length(path)
    check(requests, features)
    table = kernel_mounts.table() if any(m.propagation for m in requests) else []
    return tuple(_resolve_one(request, volumes, create_missing, table) for request in requests)


def entry(mount: Prepared) -> dict[str, Any]:
    """The mount's entry in config.json (runtime-spec, config.md, Mounts)."""
    request = mount.request
    access = "rw"
    if request.recursive_read_only:
        access = "rro"
    elif request.readonly or is_image(request):
        access = "ro"
    # An image is mounted nodev, which cannot be cleared in a user namespace; runc before 1.2 tries to, if not given it.
    flags = ["nodev", *request.mount_options] if is_image(request) else request.mount_options
    result: dict[str, Any] = {
        "destination": posixpath.normpath(request.container_path),
        "type": "bind",
        "source": mount.source,
        "options": list(dict.fromkeys(["rbind", PROPAGATION[request.propagation], access, *flags])),
    }
    if request.uidMappings or request.gidMappings:
        result["uidMappings"] = render_mappings(request.uidMappings)
        result["gidMappings"] = render_mappings(request.gidMappings)
    return result


def _resolve_one(
    request: cri.Mount, volumes: Mapping[str, ImageVolume], create_missing: bool, table: Sequence[MountPoint]
) -> Prepared:
    if is_image(request):
        volume = volumes[request.container_path]
        source = _inside_image(volume.directory, request)
        return Prepared(request=request, source=source, image_id=volume.image_id, image_ref=volume.image_ref)
    source = _host_path(request.host_path, create_missing)
    check_propagation(source, request.propagation, table)
    return Prepared(request=request, source=source)


def _host_path(path: str, create_missing: bool) -> str:
    """The path without symlinks, so that what is checked is what gets mounted."""
    pod_paths.looking_at(path)
    real = os.path.realpath(path)
    if os.path.lexists(real):
        return real
    if not create_missing:
        raise CrishimError(
            Kind.NOT_FOUND,
            f"the host path {path} does not exist (the setting runtimes.missing_host_path can have it made)",
            path=path,
        )
    try:
        directories.make_missing(Path(real), directories.PUBLIC)
    except OSError as error:
        raise CrishimError(
            Kind.PRECONDITION, f"the host path {path} cannot be made: {error.strerror}", path=path
        ) from error
    return real


def _inside_image(directory: str, request: cri.Mount) -> str:
    if not request.image_sub_path:
        return directory
    try:
        return paths.directory_in_root(directory, request.image_sub_path)
    except OSError as error:
        raise CrishimError(
            Kind.UNKNOWN,
            f"ImageVolumeMountFailed: {request.image_sub_path} of image {request.image.image}: {error.strerror}",
            path=request.container_path,
        ) from error


def check_propagation(source: str, propagation: int, table: Sequence[MountPoint]) -> None:
    """PRECONDITION unless the mount that source lies on takes part in the propagation asked for.

    Bidirectional needs a shared mount, host-to-container a shared or a slave one (mount_namespaces(7)).
    """
    if propagation == cri.PROPAGATION_PRIVATE:
        return
    tags = _mount_of(source, table).optional
    shared = any(tag.startswith("shared:") for tag in tags)
    slave = any(tag.startswith("master:") for tag in tags)
    if shared or (slave and propagation == cri.PROPAGATION_HOST_TO_CONTAINER):
        return
    need = "shared" if propagation == cri.PROPAGATION_BIDIRECTIONAL else "shared or slave"
    raise CrishimError(
        Kind.PRECONDITION, f"{source} is not on a {need} mount of the node, so it cannot propagate mounts", path=source
    )


def _mount_of(path: str, table: Sequence[MountPoint]) -> MountPoint:
    """The mount a path lies on: the longest mount point above it, the newest of equals."""
    above = [p for p in table if path == p.target or path.startswith(p.target.rstrip("/") + "/")]
    return max(reversed(above), key=lambda p: len(p.target), default=MountPoint("/", "", "", frozenset(), ()))


def render_mappings(mappings: Iterable[cri.IDMapping]) -> list[dict[str, int]]:
    return [{"containerID": m.container_id, "hostID": m.host_id, "size": m.length} for m in mappings]
