"""How much there is to fetch, by the registry's word."""

import json
import platform

import pytest

from crishim.images.credentials import ANONYMOUS
from crishim.images.manifest_size import MACHINES, download_size
from crishim.images.reference import parse
from crishim.images.registry_rules import Endpoint
from tests.support.scripted_registry import Asked, answer, scripted

MANIFEST = {"config": {"size": 10}, "layers": [{"size": 200}, {"size": 3000}]}
OURS = {"os": "linux", "architecture": MACHINES.get(platform.machine(), platform.machine())}
OTHER = {"os": "linux", "architecture": "other"}


async def total(manifests: dict[str, object]) -> int:
    """What is found at a registry that has these manifests, by tag or digest."""

    def script(asked: Asked) -> bytes:
        name = asked.target.rpartition("/")[2]
        return answer(200, body=json.dumps(manifests[name]).encode()) if name in manifests else answer(200)

    async with scripted(script) as registry:
        endpoint = Endpoint("127.0.0.1", registry.port, insecure=True)
        return await download_size(parse(f"{registry.address}/a:1"), endpoint, ANONYMOUS)


async def test_manifest() -> None:
    """Layers and configuration."""
    assert await total({"1": MANIFEST}) == 3210


async def test_index() -> None:
    """The manifest for this machine."""
    entries = [{"digest": "sha256:b", "platform": OTHER}, {"digest": "sha256:a", "platform": OURS}]
    assert await total({"1": {"manifests": entries}, "sha256:a": MANIFEST}) == 3210


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        [],
        {"layers": [{"size": -1}]},
        {"layers": [{"size": 1 << 50}]},
        {"layers": [{"size": (1 << 50) - 1}, {"size": 1}]},
        {"layers": [{"size": "1"}]},
        {"layers": 7},
        {"manifests": [{"digest": "sha256:b", "platform": OTHER}]},
        {"manifests": [{"digest": "../../x", "platform": OURS}]},
        {"manifests": [{"digest": "1", "platform": OURS}]},
    ],
)
async def test_what_tells_nothing(manifest: object) -> None:
    """No size, an impossible one, an index that leads nowhere or around: not known."""
    assert await total({"1": manifest}) == 0


async def test_who_is_not_asked() -> None:
    """A registry that skopeo alone may ask, and one that counts how often it is asked."""
    assert await download_size(parse("registry.invalid/a:1"), None, ANONYMOUS) == 0
    async with scripted(lambda _: answer(200)) as registry:
        assert await download_size(parse("a:1"), Endpoint("127.0.0.1", registry.port, True), ANONYMOUS) == 0
        assert registry.asked == []
