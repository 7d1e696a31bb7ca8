"""Pulls that share, are left, or are killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crishim.errors import CrishimError, Kind
from crishim.images.reference import parse
from crishim.images.store import ImageStore
from tests.support.image_node import Node, processes_of, random_layer, tar_files, until
from tests.support.image_node import locked_registry as locked_registry
from tests.support.image_node import node as node
from tests.support.image_node import registry as registry
from tests.support.image_node import registry_files as registry_files
from tests.support.image_node import small as small
from tests.support.registry import Registry

pytestmark = pytest.mark.node


@pytest.mark.fact("PullImage")
async def test_ten_identical_pulls_are_one(node: Node, registry: Registry, small: str) -> None:
    """Ten pulls of one name at once start skopeo once and give the same image."""
    transport = node.with_skopeo(node.wrapper(f"echo run >> {node.base}/runs"))
    reference = parse(f"{registry.address}/test/small:1")
    images = await asyncio.gather(*(transport.pull(reference) for _ in range(10)))
    assert len({i.id for i in images}) == 1
    assert (node.base / "runs").read_text() == "run\n"


async def test_different_pulls_at_once(node: Node, registry: Registry) -> None:
    """Pulls of images that share a layer run at once and all succeed."""
    base = tar_files({"base": os.urandom(1 << 20)})
    for number in range(4):
        registry.push([f"test/shared:{number}"], [base, tar_files({f"own{number}": b""})])
    pulls = (node.transport.pull(parse(f"{registry.address}/test/shared:{n}")) for n in range(4))
    images = await asyncio.gather(*pulls)
    assert len({i.id for i in images}) == 4
    assert len({i.layers[-1] for i in images}) == 1


async def test_deadline_of_one_caller_harms_no_other(node: Node, registry: Registry, small: str) -> None:
    """A caller with a deadline of 1 ms leaves; the one beside it gets the image."""
    reference = parse(f"{registry.address}/test/small:1")
    patient = asyncio.create_task(node.transport.pull(reference))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await node.transport.pull(reference)
    assert (await patient).repo_tags == (str(reference),)


async def test_deadline_of_the_only_caller_ends_the_pull(node: Node, registry: Registry, small: str) -> None:
    """A pull whose only caller leaves after 1 ms is killed; the next one succeeds."""
    reference = parse(f"{registry.address}/test/small:1")
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await node.transport.pull(reference)
    assert await node.transport.pull(reference)
    await until(lambda: not list(node.place.scratch.iterdir()))


def downloading(node: Node) -> bool:
    return any(p.stat().st_size > 1 << 20 for p in node.place.scratch.rglob("*") if p.is_file())


def unpacking(node: Node) -> bool:
    return any((node.place.root / "overlay").glob("*/diff/blob*"))


@pytest.mark.parametrize("moment", [downloading, unpacking])
async def test_killed_pull_leaves_nothing(node: Node, registry: Registry, moment: Callable[[Node], bool]) -> None:
    """A skopeo killed while it downloads or unpacks leaves no image; the next start clears the rest, a retry works."""
    name = f"test/{moment.__name__}:1"
    registry.push([name], [random_layer(1), random_layer(24)])
    transport = node.with_skopeo(node.wrapper(f"echo $$ > {node.base}/pid"))
    pull = asyncio.create_task(transport.pull(parse(f"{registry.address}/{name}")))
    await until(lambda: moment(node) or pull.done())
    os.killpg(int((node.base / "pid").read_text()), signal.SIGKILL)
    with pytest.raises(CrishimError) as caught:
        await pull
    assert caught.value.kind is Kind.ABORTED
    assert (await node.store.snapshot()).images == ()
    await node.transport.recover()
    assert node.leftovers() == {}
    image = await node.transport.pull(parse(f"{registry.address}/{name}"))
    assert len(image.layers) == 2
    await node.transport.remove(image)
    assert node.leftovers() == {}


async def test_cancelled_pull_leaves_nothing(node: Node, registry: Registry) -> None:
    """A cancelled pull ends its skopeo and its children and removes its files."""
    registry.push(["test/cancelled:1"], [random_layer(24)])
    pull = asyncio.create_task(node.transport.pull(parse(f"{registry.address}/test/cancelled:1")))
    await until(lambda: downloading(node) or pull.done())
    pull.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pull
    await until(lambda: not processes_of(node.base) and not list(node.place.scratch.iterdir()))
    await node.transport.recover()
    assert node.leftovers() == {}


def start_python(program: str) -> "subprocess.Popen[bytes]":
    root = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, "-c", program], cwd=root, env={**os.environ, "PYTHONPATH": str(root)})


async def test_skopeo_dies_with_the_daemon(node: Node, registry: Registry) -> None:
    """A daemon killed in the middle of a pull takes its skopeo along; the next start finds and clears the rest."""
    registry.push(["test/orphaned:1"], [random_layer(24)])
    program = f"""
import asyncio, pathlib
from tests.support.image_node import Node
from crishim.images.reference import parse
node = Node(pathlib.Path({str(node.base)!r}))
node.trust({registry.address!r})
asyncio.run(node.transport.pull(parse("{registry.address}/test/orphaned:1")))
"""
    daemon = start_python(program)
    try:
        await until(lambda: downloading(node) or daemon.poll() is not None)
        assert daemon.poll() is None
    finally:
        daemon.kill()
        daemon.wait()
    await until(lambda: not processes_of(node.base))
    await node.transport.recover()
    assert node.leftovers() == {}
    assert list(node.place.secrets.iterdir()) == []


async def test_half_an_image_is_none(node: Node, registry: Registry, small: str) -> None:
    """An image record without its configuration, as a killed pull leaves it, is not listed and goes at start."""
    image = await node.transport.pull(parse(f"{registry.address}/test/small:1"))
    config = next((node.place.root / "overlay-images" / image.id[7:]).glob("=c2hhMjU2*"))
    config.unlink()
    assert (await ImageStore(node.place.root).snapshot()).images == ()
    await node.transport.recover()
    assert node.leftovers() == {}
