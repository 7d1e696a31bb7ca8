"""Removing images with the real skopeo."""

import asyncio
import os

import pytest

from crishim.errors import CrishimError, Kind
from crishim.images.holds import Holds
from crishim.images.reference import parse
from crishim.operations.remove_image import remove_image
from tests.support.image_node import Node, tar_files
from tests.support.image_node import locked_registry as locked_registry
from tests.support.image_node import node as node
from tests.support.image_node import registry as registry
from tests.support.image_node import registry_files as registry_files
from tests.support.image_node import small as small
from tests.support.nodes import make_node
from tests.support.registry import Registry

pytestmark = pytest.mark.node


@pytest.mark.fact("RemoveImage")
async def test_five_parallel_removals(node: Node, registry: Registry, small: str) -> None:
    """Five removals at once, by tag, digest and id, all succeed; image and tags are gone as each returns."""
    for name in ("test/small:1", "test/small:2", "other/small:1"):
        image = await node.transport.pull(parse(f"{registry.address}/{name}"))
    uses = Holds(lambda: ())
    whole = make_node(node.base / "node", images=node.store, transport=node.transport, image_holds=uses)

    async def remove(text: str) -> None:
        await remove_image(whole, text)
        assert (await node.store.snapshot()).images == ()

    texts = [*image.repo_tags[:2], image.repo_digests[0], image.id, image.id[7:20]]
    await asyncio.gather(*(remove(text) for text in texts))
    await remove(image.id)
    assert node.leftovers() == {}


async def test_removal_keeps_shared_layers(node: Node, registry: Registry) -> None:
    """Removing an image leaves the layers that another one has."""
    base = tar_files({"base": b"base"})
    registry.push(["test/keep:1"], [base, tar_files({"keep": b""})])
    registry.push(["test/drop:1"], [base, tar_files({"drop": b""})])
    keep = await node.transport.pull(parse(f"{registry.address}/test/keep:1"))
    drop = await node.transport.pull(parse(f"{registry.address}/test/drop:1"))
    await node.transport.remove(drop)
    assert (await node.store.snapshot()).images == (keep,)
    assert sorted(node.leftovers()["layers"]) == sorted(keep.layers)
    assert (node.place.root / "overlay" / keep.layers[-1] / "diff/base").read_bytes() == b"base"


async def test_image_in_use_is_refused(node: Node, registry: Registry, small: str) -> None:
    """An image of a container on record, or held by one being made, is PRECONDITION by any of its names."""
    image = await node.transport.pull(parse(f"{registry.address}/test/small:1"))
    used: list[str] = [image.id]
    uses = Holds(lambda: used)
    whole = make_node(node.base / "node", images=node.store, transport=node.transport, image_holds=uses)

    async def remove(name: str) -> None:
        await remove_image(whole, name)

    for name in (*image.repo_tags, image.id):
        with pytest.raises(CrishimError) as caught:
            await remove(name)
        assert caught.value.kind is Kind.PRECONDITION
    used.clear()
    with uses.hold(image.id), pytest.raises(CrishimError, match="in use"):
        await remove(image.id)
    await remove(image.id)
    assert (await node.store.snapshot()).images == ()


async def test_pull_and_removal_at_once(node: Node, registry: Registry) -> None:
    """Pulls and removals of images that share a layer, all at once, end with whole images or none."""
    base = tar_files({"base": os.urandom(1 << 20)})
    names = [f"{registry.address}/test/churn:{n}" for n in range(3)]
    for number in range(3):
        registry.push([f"test/churn:{number}"], [base, tar_files({f"own{number}": b""})])

    async def churn(name: str) -> None:
        for _ in range(3):
            await node.transport.remove(await node.transport.pull(parse(name)))

    await asyncio.gather(*(churn(n) for n in names))
    assert (await node.store.snapshot()).images == ()
    assert node.leftovers() == {}
