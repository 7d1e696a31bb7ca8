"""How many bytes a pull fetches, from the image's manifest (OCI image-spec 1.1, manifest.md and image-index.md).

For display only: as the registry says, not verified, and 0 if not known. It costs one manifest request more than the
pull itself; registries with a rate limit for those are not asked.
"""

import platform

import msgspec

from crishim.decoding import NOT_JSON
from crishim.images.credentials import Credentials
from crishim.images.manifest_digest import ask
from crishim.images.reference import DEFAULT_DOMAIN, Reference
from crishim.images.registry_rules import Endpoint

COUNTING = frozenset({DEFAULT_DOMAIN})  # registries with a rate limit of manifest requests
MAX_SIZE = 1 << 50
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}  # uname(2)'s name to Go's


class _Platform(msgspec.Struct, frozen=True):
    os: str = ""
    architecture: str = ""


class _Descriptor(msgspec.Struct, frozen=True):
    size: int = 0
    digest: str = ""
    platform: _Platform | None = None


class _Manifest(msgspec.Struct, frozen=True):
    """A manifest, or an index, which has `manifests`."""

    config: _Descriptor = _Descriptor()
    layers: list[_Descriptor] = []
    manifests: list[_Descriptor] = []


async def download_size(image: Reference, endpoint: Endpoint | None, credentials: Credentials) -> int:
    """Bytes of an image's layers and configuration in the registry (compressed); 0 if not known."""
    if endpoint is None or image.domain in COUNTING:
        return 0
    for _ in range(2):  # the second time for the manifest in an index
        answer = await ask("GET", image, endpoint, credentials)
        try:
            found = msgspec.json.decode(answer.body if answer else b"{}", type=_Manifest)
        except NOT_JSON:
            return 0
        if not found.manifests:
            sizes = [each.size for each in (found.config, *found.layers)]
            return sum(sizes) if all(0 <= size < MAX_SIZE for size in sizes) and sum(sizes) < MAX_SIZE else 0
        chosen = next((each.digest for each in found.manifests if _is_ours(each.platform)), "")
        if not chosen.isascii() or not chosen.replace(":", "").isalnum():
            return 0
        image = msgspec.structs.replace(image, tag="", digest=chosen)
    return 0


def _is_ours(found: _Platform | None) -> bool:
    machine = platform.machine()
    return found is not None and (found.os, found.architecture) == ("linux", MACHINES.get(machine, machine))
