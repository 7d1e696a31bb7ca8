"""Pulling images with the real skopeo from real registries."""

import asyncio
import json

import pytest

from crishim.errors import CrishimError, Kind
from crishim.images.credentials import Credentials
from crishim.images.reference import parse
from crishim.linux import mounts
from crishim.model import ImageRecord
from tests.support.image_node import Node, random_layer, tar_files
from tests.support.image_node import locked_registry as locked_registry
from tests.support.image_node import node as node
from tests.support.image_node import registry as registry
from tests.support.image_node import registry_files as registry_files
from tests.support.image_node import small as small
from tests.support.registry import PASSWORD, USER, Registry, free_port

pytestmark = pytest.mark.node


async def test_pull_by_tag(node: Node, registry: Registry, small: str) -> None:
    """A pull by tag gives the configuration's digest as id, the tag, and the digest the registry has."""
    name = f"{registry.address}/test/small:1"
    image = await node.transport.pull(parse(name))
    assert image.id.startswith("sha256:")
    assert image.repo_tags == (name,)
    assert image.repo_digests == (f"{registry.address}/test/small@{small}",)
    assert image.size > 0
    assert json.loads(image.config)["config"]["User"] == "www-data:33"
    for text in (name, image.id, image.id[7:], image.id[7:20], image.id[:20], image.repo_digests[0]):
        assert await node.store.find(text) == image


async def test_pull_by_digest(node: Node, registry: Registry, small: str) -> None:
    """A pull by digest gives no tag and exactly that digest; a tag beside the digest changes nothing."""
    for name in (f"test/small@{small}", f"test/small:other@{small}"):
        image = await node.transport.pull(parse(f"{registry.address}/{name}"))
        assert image.repo_tags == ()
        assert image.repo_digests == (f"{registry.address}/test/small@{small}",)


async def test_tags_across_repositories(node: Node, registry: Registry, small: str) -> None:
    """Three names of one image are one record with three tags and a digest for each repository."""
    names = [f"{registry.address}/{n}" for n in ("test/small:1", "test/small:2", "other/small:1")]
    images = [await node.transport.pull(parse(n)) for n in names]
    assert len({i.id for i in images}) == 1
    assert sorted(images[-1].repo_tags) == sorted(names)
    digests = {f"{registry.address}/test/small@{small}", f"{registry.address}/other/small@{small}"}
    assert set(images[-1].repo_digests) == digests
    assert len((await node.store.snapshot()).images) == 1


async def test_multi_platform_index(node: Node, registry: Registry) -> None:
    """Behind an index, the digest is the index's own, by tag as by digest."""
    digest = registry.push(["test/index:1"], [tar_files({"index": b""})], index=True)
    image = await node.transport.pull(parse(f"{registry.address}/test/index:1"))
    assert image.repo_digests == (f"{registry.address}/test/index@{digest}",)
    assert await node.store.find(f"{registry.address}/test/index@{digest}") == image
    await node.transport.remove(image)
    by_digest = await node.transport.pull(parse(f"{registry.address}/test/index@{digest}"))
    assert by_digest.id == image.id
    assert by_digest.repo_digests == image.repo_digests
    assert by_digest.repo_tags == ()


async def test_moved_tag_leaves_the_old_image_its_digest(node: Node, registry: Registry) -> None:
    """When a tag moves, the old image stays, without tag and with the digest it was known by."""
    name = f"{registry.address}/test/moving:1"
    old_digest = registry.push(["test/moving:1"], [tar_files({"old": b""})])
    old = await node.transport.pull(parse(name))
    registry.push(["test/moving:1"], [tar_files({"new": b""})])
    new = await node.transport.pull(parse(name))
    assert new.id != old.id
    left = await node.store.find(old.id)
    assert left is not None
    assert left.repo_tags == ()
    assert left.repo_digests == (f"{registry.address}/test/moving@{old_digest}",)
    assert await node.store.find(name) == new


async def test_pinned_by_pattern(node: Node, registry: Registry) -> None:
    """Images that a pattern names are pinned, others are not."""
    registry.push(["test/pinned:1", "test/loose:1"], [tar_files({"p": b""})])
    pinned = await node.transport.pull(parse(f"{registry.address}/test/pinned:1"))
    assert pinned.pinned
    await node.transport.remove(pinned)
    assert not (await node.transport.pull(parse(f"{registry.address}/test/loose:1"))).pinned


async def test_missing_image_is_not_found(node: Node, registry: Registry) -> None:
    """A repository, a tag and a digest that the registry does not have are NOT_FOUND, and leave nothing."""
    for name in ("none:1", "test/small:none", "test/small@sha256:" + "0" * 64):
        with pytest.raises(CrishimError) as caught:
            await node.transport.pull(parse(f"{registry.address}/{name}"))
        assert caught.value.kind is Kind.NOT_FOUND, caught.value
        assert name.partition("@")[0] in caught.value.message
    assert (await node.store.snapshot()).images == ()


async def test_registry_that_does_not_answer(node: Node) -> None:
    """A refused connection is UNKNOWN with the prefix the kubelet looks for."""
    address = f"127.0.0.1:{free_port()}"
    node.trust(address)
    with pytest.raises(CrishimError) as caught:
        await node.transport.pull(parse(f"{address}/test/small:1"))
    assert caught.value.kind is Kind.UNKNOWN
    assert caught.value.message.startswith("RegistryUnavailable: ")


async def test_timeout_is_deadline(node: Node, registry: Registry, small: str) -> None:
    """A pull that takes longer than the limit is killed and DEADLINE."""
    slow = node.with_skopeo(node.wrapper("sleep 30"), timeout=0.05)
    with pytest.raises(CrishimError) as caught:
        await slow.pull(parse(f"{registry.address}/test/small:1"))
    assert caught.value.kind is Kind.DEADLINE


async def test_registry_that_falls_silent(node: Node) -> None:
    """A registry that accepts and then says nothing is given up as unavailable; nothing runs on."""

    async def listen_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(listen_only, "127.0.0.1", 0)
    async with silent:
        address = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        node.trust(address)
        with pytest.raises(CrishimError) as caught:
            await node.with_skopeo(stall=0.3).pull(parse(f"{address}/test/small:1"))
    assert caught.value.kind is Kind.UNKNOWN
    assert caught.value.message.startswith("RegistryUnavailable: ")


async def test_missing_program_is_named(node: Node, registry: Registry) -> None:
    """Without skopeo the error says so."""
    with pytest.raises(CrishimError) as caught:
        await node.with_skopeo("no-skopeo-here").pull(parse(f"{registry.address}/test/small:1"))
    assert caught.value.kind is Kind.PRECONDITION
    assert "no-skopeo-here" in caught.value.message


async def test_full_disk_is_exhausted(node: Node, registry: Registry) -> None:
    """A store whose disk is full answers EXHAUSTED, and works again when there is room."""
    registry.push(["test/large:1"], [random_layer(4)])
    mounts.mount("tmpfs", "tmpfs", node.place.root, data="size=1m")
    try:
        with pytest.raises(CrishimError) as caught:
            await node.transport.pull(parse(f"{registry.address}/test/large:1"))
        assert caught.value.kind is Kind.EXHAUSTED, caught.value
        mounts.mount("", "tmpfs", node.place.root, flags=mounts.MS_REMOUNT, data="size=64m")
        assert await node.transport.pull(parse(f"{registry.address}/test/large:1"))
    finally:
        mounts.unmount(node.place.root)


# Credentials, mirrors, policy


@pytest.mark.fact("PullImage")
async def test_credentials_decide(node: Node, locked_registry: str, small: str) -> None:
    """Without or with the wrong password a pull is DENIED, with the right one it works; nothing shows the password."""
    node.trust(locked_registry)
    reference = parse(f"{locked_registry}/test/small:1")
    for wrong in (Credentials(), Credentials(username=USER, password="wrong-password")):
        with pytest.raises(CrishimError) as caught:
            await node.transport.pull(reference, wrong)
        assert caught.value.kind is Kind.DENIED, caught.value
        assert "wrong-password" not in f"{caught.value} {caught.value.facts} {wrong!r}"
    assert await node.transport.pull(reference, Credentials(username=USER, password=PASSWORD))


async def test_secret_only_in_a_private_file(node: Node, locked_registry: str, small: str) -> None:
    """The password is in a 0600 file in a 0700 directory while skopeo runs, not in its arguments or environment."""
    node.trust(locked_registry)
    seen = node.base / "seen"
    script = (
        f'echo "$@" > {seen}; env >> {seen}; '
        'for a in "$@"; do [ "$last" = --src-authfile ] && file=$a; last=$a; done; '
        f'stat -c %a "$file" "$(dirname "$file")" > {node.base}/modes; cp "$file" {node.base}/auth'
    )
    transport = node.with_skopeo(node.wrapper(script))
    await transport.pull(parse(f"{locked_registry}/test/small:1"), Credentials(username=USER, password=PASSWORD))
    assert (node.base / "modes").read_text().split() == ["600", "700"]
    auth = json.loads((node.base / "auth").read_text())
    assert list(auth["auths"]) == [f"{locked_registry}/test/small"]
    secret = auth["auths"][f"{locked_registry}/test/small"]["auth"]
    assert PASSWORD not in seen.read_text()
    assert secret not in seen.read_text()
    assert list(node.place.secrets.iterdir()) == []


async def test_different_credentials_do_not_share_a_pull(node: Node, locked_registry: str, small: str) -> None:
    """Of two pulls at once, the one with the wrong password fails and the other succeeds."""
    node.trust(locked_registry)
    reference = parse(f"{locked_registry}/test/small:1")
    right = node.transport.pull(reference, Credentials(username=USER, password=PASSWORD))
    wrong = node.transport.pull(reference, Credentials(username=USER, password="wrong-password"))
    image, error = await asyncio.gather(right, wrong, return_exceptions=True)
    assert isinstance(image, ImageRecord)
    assert isinstance(error, CrishimError)
    assert error.kind is Kind.DENIED


async def test_mirror_of_registries_conf(node: Node, registry: Registry, small: str) -> None:
    """registries.conf leads a name of another registry to a mirror; the image keeps the name that was asked for."""
    node.registries.write_text(
        '[[registry]]\nprefix = "registry.invalid"\nlocation = "registry.invalid"\n'
        f'[[registry.mirror]]\nlocation = "{registry.address}"\ninsecure = true\n'
    )
    image = await node.transport.pull(parse("registry.invalid/test/small:1"))
    assert image.repo_tags == ("registry.invalid/test/small:1",)
    assert image.repo_digests == (f"registry.invalid/test/small@{small}",)


@pytest.mark.fact("PullImage")
async def test_policy_rejects(node: Node, registry: Registry, small: str) -> None:
    """What policy.json rejects is UNKNOWN with the kubelet's prefix, and is not stored."""
    policy = node.base / "policy.json"
    policy.write_text('{"default": [{"type": "reject"}]}')
    with pytest.raises(CrishimError) as caught:
        await node.with_skopeo(policy=policy).pull(parse(f"{registry.address}/test/small:1"))
    assert caught.value.kind is Kind.UNKNOWN
    assert caught.value.message.startswith("SignatureValidationFailed: ")
    assert (await node.store.snapshot()).images == ()
