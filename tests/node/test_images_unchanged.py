"""Pulls of an image that is there: the registry says whether it has changed, and no program runs if it has not."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from crishim.errors import CrishimError, Kind
from crishim.images import transport as transport_module
from crishim.images.credentials import ANONYMOUS, Credentials
from crishim.images.manifest_digest import manifest_digest
from crishim.images.reference import Reference, parse
from crishim.images.registry_rules import Endpoint
from crishim.images.transport import Transport
from tests.support.image_node import Node, tar_files
from tests.support.image_node import locked_registry as locked_registry
from tests.support.image_node import node as node
from tests.support.image_node import registry as registry
from tests.support.image_node import registry_files as registry_files
from tests.support.image_node import small as small
from tests.support.registry import PASSWORD, USER, Registry

pytestmark = pytest.mark.node

RIGHT = Credentials(username=USER, password=PASSWORD)
WRONG = Credentials(username=USER, password="wrong-password")


class Counted:
    """A transport whose runs of skopeo are counted."""

    def __init__(self, node: Node) -> None:
        self._runs = node.base / "runs"
        self.transport: Transport = node.with_skopeo(node.wrapper(f"echo run >> {self._runs}"))

    def runs(self) -> int:
        return self._runs.read_text().count("run") if self._runs.exists() else 0


@pytest.mark.fact("PullImage")
async def test_unchanged_by_tag_and_digest(node: Node, registry: Registry, small: str) -> None:
    """A second pull, by tag or by digest, gives the same record and runs nothing."""
    counted = Counted(node)
    for name in ("test/small:1", f"test/small@{small}"):
        before = counted.runs()
        first = await counted.transport.pull(parse(f"{registry.address}/{name}"))
        assert counted.runs() == before + 1
        for _ in range(2):
            assert await counted.transport.pull(parse(f"{registry.address}/{name}")) == first
        assert counted.runs() == before + 1


async def test_unchanged_behind_an_index(node: Node, registry: Registry) -> None:
    """For an index its own digest counts."""
    registry.push(["test/index:unchanged"], [tar_files({"index": b"unchanged"})], index=True)
    counted = Counted(node)
    for _ in range(2):
        await counted.transport.pull(parse(f"{registry.address}/test/index:unchanged"))
    assert counted.runs() == 1


async def test_second_name_of_a_stored_image(node: Node, registry: Registry, small: str) -> None:
    """A name that is not stored yet is pulled, whatever image it stands for: the store has to learn it."""
    counted = Counted(node)
    for name in ("test/small:1", "test/small:2", "other/small:1", f"test/small@{small}"):
        image = await counted.transport.pull(parse(f"{registry.address}/{name}"))
    assert counted.runs() == 4
    assert len(image.repo_tags) == 3


async def test_moved_tag(node: Node, registry: Registry) -> None:
    """A tag that moved is pulled; so is one that moved back to an image which is still stored."""
    layers = [tar_files({"moved": content}) for content in (b"old", b"new")]
    counted = Counted(node)
    name = parse(f"{registry.address}/test/moved:1")
    found = []
    for layer in (*layers, *layers):
        registry.push(["test/moved:1"], [layer])
        found.append((await counted.transport.pull(name)).id)
    assert found[:2] == found[2:]
    assert found[0] != found[1]
    assert counted.runs() == 4


async def test_digest_of_another_image(
    node: Node, registry: Registry, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry that lies names another stored image's digest: nothing is handed out under a wrong name."""
    other_digest = registry.push(["test/other:1"], [tar_files({"other": b""})])
    counted = Counted(node)
    await counted.transport.pull(parse(f"{registry.address}/test/other:1"))
    image = await counted.transport.pull(parse(f"{registry.address}/test/small:1"))

    async def lie(*_: object) -> str:
        return other_digest

    monkeypatch.setattr(transport_module, "manifest_digest", lie)
    assert await counted.transport.pull(parse(f"{registry.address}/test/small:1")) == image
    assert counted.runs() == 3


async def test_removed_before_the_answer(
    node: Node, registry: Registry, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that is removed while the registry is asked is pulled again."""
    counted = Counted(node)
    name = parse(f"{registry.address}/test/small:1")
    image = await counted.transport.pull(name)

    async def removing(*arguments: object) -> str:
        digest = await manifest_digest(*arguments)  # type: ignore[arg-type]
        await counted.transport.remove(image)
        return digest

    monkeypatch.setattr(transport_module, "manifest_digest", removing)
    again = await counted.transport.pull(name)
    assert again == image == await node.store.find(str(name))
    assert counted.runs() == 2


@pytest.mark.fact("PullImage")
async def test_credentials_of_another_pod(
    node: Node, locked_registry: str, small: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An image that is there is DENIED to wrong credentials and to none, as before; at once with right ones, too."""
    caplog.set_level(logging.DEBUG)
    node.trust(locked_registry)
    counted = Counted(node)
    name = parse(f"{locked_registry}/test/small:1")
    image = await counted.transport.pull(name, RIGHT)
    assert await counted.transport.pull(name, RIGHT) == image
    assert counted.runs() == 1

    async def denied(credentials: Credentials) -> None:
        with pytest.raises(CrishimError) as caught:
            await counted.transport.pull(name, credentials)
        assert caught.value.kind is Kind.DENIED

    pulls: list[Awaitable[object]] = [counted.transport.pull(name, RIGHT), denied(WRONG), denied(ANONYMOUS)]
    await asyncio.gather(*pulls)
    assert counted.runs() == 3
    assert PASSWORD not in caplog.text
    assert WRONG.password not in caplog.text


def with_policy(node: Node, registry: Registry) -> None:
    (node.base / "policy.json").write_text('{"default": [{"type": "reject"}]}')


def with_blocked(node: Node, registry: Registry) -> None:
    node.registries.write_text(f'[[registry]]\nlocation = "{registry.address}"\nblocked = true\n')


@pytest.mark.parametrize("change", [with_policy, with_blocked])
async def test_rules_that_came_later(
    node: Node, registry: Registry, small: str, change: Callable[[Node, Registry], None]
) -> None:
    """What policy.json or registries.conf refuse now is refused, though the image is there and unchanged."""
    policy = node.base / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    transport = node.with_skopeo(policy=policy)
    name = parse(f"{registry.address}/test/small:1")
    assert await transport.pull(name) == await transport.pull(name)
    change(node, registry)
    with pytest.raises(CrishimError):
        await transport.pull(name)


@pytest.mark.parametrize("which", ["policy", "registries.conf"])
async def test_other_files_by_a_reload(node: Node, registry: Registry, small: str, which: str) -> None:
    """What another policy or registries.conf, given while the daemon runs, refuses is refused from then on."""
    policy = node.base / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    transport = node.with_skopeo(policy=policy)
    name = parse(f"{registry.address}/test/small:1")
    assert await transport.pull(name) == await transport.pull(name)
    other = node.base / "other"
    if which == "policy":
        other.write_text('{"default": [{"type": "reject"}]}')
        transport.use(node.registries, other)
    else:
        other.write_text(f'[[registry]]\nlocation = "{registry.address}"\nblocked = true\n')
        transport.use(other, policy)
    with pytest.raises(CrishimError):
        await transport.pull(name)


async def test_mirror_is_asked_by_skopeo(node: Node, registry: Registry, small: str) -> None:
    """A name with a mirror is skopeo's each time."""
    node.registries.write_text(
        '[[registry]]\nlocation = "registry.invalid"\n'
        f'[[registry.mirror]]\nlocation = "{registry.address}"\ninsecure = true\n'
    )
    counted = Counted(node)
    for _ in range(2):
        await counted.transport.pull(parse("registry.invalid/test/small:1"))
    assert counted.runs() == 2


async def test_cancelled_while_the_registry_is_asked(
    node: Node, registry: Registry, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that leaves while the registry does not answer ends the question."""
    name = parse(f"{registry.address}/test/small:1")
    await node.transport.pull(name)
    ended = asyncio.Event()

    async def hang(image: Reference, endpoint: Endpoint, credentials: Credentials) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    monkeypatch.setattr(transport_module, "manifest_digest", hang)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await node.transport.pull(name)
    async with asyncio.timeout(20):
        await ended.wait()
