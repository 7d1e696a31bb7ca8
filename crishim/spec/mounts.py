"""CRI mounts, resolved on the host: sources that exist, propagation the kernel will accept, image volumes, options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crishim import model
from crishim.pb import cri_pb2 as cri


@dataclass(frozen=True, kw_only=True)
class ImageVolume:
    """An image the caller has mounted for a volume."""

    directory: str  # where it is mounted, read-only
    image_id: str
    image_ref: str  # digest reference, for ContainerStatus


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A CRI mount and what it comes from on this host."""

    request: cri.Mount
    source: str  # symlinks resolved; of an image volume: the directory (or its sub path) in the mounted image
    image_id: str = ""
    image_ref: str = ""

    def record(self) -> model.ResolvedMount:
        """What the container's record keeps of it."""
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
    """Check and resolve the mounts of a container. Blocks: call it in a thread."""
    raise NotImplementedError
