"""kill -9 of the daemon while an image comes and goes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.breakable import BreakableDaemon, crash, node_with_bystander
from tests.support.image_node import random_layer
from tests.support.registry import Registry
from tests.support.registry import registry as registry
from tests.support.registry import registry_files as registry_files

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node(
    busybox_archive: Path, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BreakableDaemon]:
    conf = tmp_path_factory.mktemp("conf") / "registries.conf"
    conf.write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
    with node_with_bystander(busybox_archive, images={"registries_conf": str(conf)}) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def remote(registry: Registry) -> str:
    """An image in a registry that takes a while to come."""
    registry.push(["test/crash:1"], [random_layer(8), random_layer(1)])
    return f"{registry.address}/test/crash:1"


def layers(daemon: BreakableDaemon) -> set[str]:
    """Directories of layers, downloads and secrets."""
    places = ("state/images/overlay", "state/images/overlay-images", "state/downloads", "run/secrets")
    found = {str(p) for place in places for p in (daemon.directory / place).iterdir()}
    return {p for p in found if not p.endswith((".json", ".lock"))}


@pytest.mark.parametrize("point", ["exec skopeo after 1", "Skopeo.copy after 1"])
def test_pull_image(daemon: BreakableDaemon, remote: str, point: str) -> None:
    """Killed in PullImage: the image is there as a whole or not at all, and can be had and removed."""
    before = layers(daemon)
    wish = cri.ImageSpec(image=remote)
    crash(daemon, point, "PullImage", image=wish)
    found = daemon.call("ImageStatus", image=wish).image
    assert bool(found.id) == (point == "Skopeo.copy after 1")
    if not found.id:
        assert layers(daemon) == before
    reference = daemon.call("PullImage", image=wish).image_ref
    assert found.id in ("", reference)
    daemon.call("RemoveImage", image=wish)
    assert not daemon.call("ImageStatus", image=wish).image.id
    assert layers(daemon) == before


REMOVE = [
    "garbage_collection.remove_image before 1",
    "garbage_collection._write before 1",
    "garbage_collection._write after 1",
    "garbage_collection._write after 2",
    "garbage_collection._remove_files after 1",
    "garbage_collection.remove_image after 1",
]


@pytest.mark.parametrize("point", REMOVE)
def test_remove_image(daemon: BreakableDaemon, remote: str, point: str) -> None:
    """Killed in RemoveImage: the image is there as before, or gone, and then the next start removes what it had."""
    before = layers(daemon)
    wish = cri.ImageSpec(image=remote)
    reference = daemon.call("PullImage", image=wish).image_ref
    crash(daemon, point, "RemoveImage", image=wish)
    found = daemon.call("ImageStatus", image=wish).image.id
    assert found == (reference if point.endswith("before 1") else "")
    if found:
        daemon.call("RemoveImage", image=wish)
    assert layers(daemon) == before
