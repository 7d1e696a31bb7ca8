"""The ImageService's RPCs over a real store."""

import asyncio
import base64
import json
from pathlib import Path

import pytest

from crishim.cri import images
from crishim.errors import CrishimError, Kind
from crishim.images.holds import Holds
from crishim.images.usage import StoreMeter
from crishim.pb import cri_pb2 as cri
from tests.support.image_node import Node, tar_files
from tests.support.image_node import locked_registry as locked_registry
from tests.support.image_node import node as node
from tests.support.image_node import registry as registry
from tests.support.image_node import registry_files as registry_files
from tests.support.image_node import small as small
from tests.support.nodes import make_node
from tests.support.registry import PASSWORD, USER, Registry

pytestmark = pytest.mark.node


class Service:
    """The RPCs, with the request built from keywords."""

    def __init__(self, node: Node, in_use: set[str]) -> None:
        self.node = make_node(
            node.base / "node",
            images=node.store,
            transport=node.transport,
            image_holds=Holds(lambda: in_use),
            image_usage=StoreMeter(node.store),
        )

    async def pull(self, name: str, **auth: str) -> str:
        request = cri.PullImageRequest(image=cri.ImageSpec(image=name))
        if auth:
            request.auth.CopyFrom(cri.AuthConfig(**auth))
        return str((await images.PullImage(self.node, request)).image_ref)

    async def status(self, name: str, verbose: bool = False) -> cri.ImageStatusResponse:
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=name), verbose=verbose)
        return await images.ImageStatus(self.node, request)

    async def list(self, name: str = "") -> list[cri.Image]:
        request = cri.ListImagesRequest(filter=cri.ImageFilter(image=cri.ImageSpec(image=name)))
        return list((await images.ListImages(self.node, request)).images)

    async def remove(self, name: str) -> None:
        await images.RemoveImage(self.node, cri.RemoveImageRequest(image=cri.ImageSpec(image=name)))


@pytest.fixture
def in_use() -> set[str]:
    return set()


@pytest.fixture
def service(node: Node, in_use: set[str]) -> Service:
    return Service(node, in_use)


async def test_one_id_everywhere(service: Service, registry: Registry, small: str) -> None:
    """PullImage.image_ref is Image.id in ImageStatus by tag, digest and id, and in ListImages."""
    name = f"{registry.address}/test/small:1"
    ref = await service.pull(name)
    digest = f"{registry.address}/test/small@{small}"
    for text in (name, digest, ref, ref.removeprefix("sha256:"), ref[7:20]):
        image = (await service.status(text)).image
        assert image.id == ref
        assert list(image.repo_tags) == [name]
        assert list(image.repo_digests) == [digest]
        assert image.size > 0
        assert not image.pinned
    assert [i.id for i in await service.list()] == [ref]


@pytest.mark.fact("StreamImages")
async def test_list_honours_its_filter(service: Service, registry: Registry, small: str) -> None:
    """ListImages with a filter gives that image or nothing; StreamImages the same, and no message for an empty list."""
    registry.push(["test/another:1"], [tar_files({"another": b""})])
    refs = [await service.pull(f"{registry.address}/test/{n}:1") for n in ("small", "another")]
    assert {i.id for i in await service.list()} == set(refs)
    assert [i.id for i in await service.list(refs[1])] == [refs[1]]
    assert await service.list("no/such:image") == []
    batches = [list(r.images) async for r in images.StreamImages(service.node, cri.StreamImagesRequest())]
    assert {i.id for b in batches for i in b} == set(refs)
    nothing = cri.StreamImagesRequest(filter=cri.ImageFilter(image=cri.ImageSpec(image="no/such:image")))
    assert [r async for r in images.StreamImages(service.node, nothing)] == []


@pytest.mark.fact("ListImages", "ImageStatus")
@pytest.mark.parametrize(
    ("user", "uid", "username"),
    [("1002", 1002, ""), ("www-data", None, "www-data"), ("1003:1004", 1003, ""), ("www-data:1004", None, "www-data")],
)
async def test_user_is_uid_or_name(
    service: Service, registry: Registry, user: str, uid: int | None, username: str
) -> None:
    """ImageStatus gives the uid or the user name of the image, never both."""
    registry.push([f"test/user-{user.replace(':', '-')}:1"], [tar_files({"u": b""})], {"User": user})
    ref = await service.pull(f"{registry.address}/test/user-{user.replace(':', '-')}:1")
    image = (await service.status(ref)).image
    assert (image.uid.value if image.HasField("uid") else None, image.username) == (uid, username)


async def test_verbose_status_has_the_configuration(service: Service, registry: Registry, small: str) -> None:
    """A verbose ImageStatus adds the image's configuration as JSON; a plain one adds nothing."""
    ref = await service.pull(f"{registry.address}/test/small:1")
    assert not (await service.status(ref)).info
    info = json.loads((await service.status(ref, verbose=True)).info["info"])
    assert info["imageSpec"]["config"]["User"] == "www-data:33"


@pytest.mark.fact("ListImages", "ImageStatus")
async def test_absent_image(service: Service) -> None:
    """ImageStatus of an absent image is an answer without image; removing it is fine; no name at all is INVALID."""
    for text in ("no/such:image", "sha256:" + "0" * 64, "0" * 64, "0" * 12, "Not A Reference"):
        assert not (await service.status(text)).HasField("image")
        await service.remove(text)
    for call in (service.status(""), service.remove(""), service.pull("")):
        with pytest.raises(CrishimError) as caught:
            await call
        assert caught.value.kind is Kind.INVALID


async def test_removal_by_one_tag_removes_all(service: Service, registry: Registry, small: str) -> None:
    """RemoveImage by one tag removes every tag across repositories, five times at once."""
    names = [f"{registry.address}/{n}" for n in ("test/small:1", "test/small:2", "other/small:1")]
    for name in names:
        await service.pull(name)
    assert len(list((await service.list())[0].repo_tags)) == 3
    await asyncio.gather(*(service.remove(names[0]) for _ in range(5)))
    for name in names:
        assert not (await service.status(name)).HasField("image")


async def test_image_in_use(service: Service, registry: Registry, small: str, in_use: set[str]) -> None:
    """RemoveImage of an image that a container has is refused with a sentence that says so."""
    ref = await service.pull(f"{registry.address}/test/small:1")
    in_use.add(ref)
    with pytest.raises(CrishimError, match="in use by a container") as caught:
        await service.remove(ref)
    assert caught.value.kind is Kind.PRECONDITION
    in_use.clear()
    await service.remove(ref)


async def test_credentials_in_each_form(service: Service, node: Node, locked_registry: str, small: str) -> None:
    """PullImage takes username and password, or auth; credentials for another server are not sent."""
    node.trust(locked_registry)
    name = f"{locked_registry}/test/small:1"
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert await service.pull(name, username=USER, password=PASSWORD, server_address=f"https://{locked_registry}/v1/")
    assert await service.pull(name, auth=pair)
    with pytest.raises(CrishimError) as caught:
        await service.pull(name, auth=pair, server_address="https://index.docker.io/v1/")
    assert caught.value.kind is Kind.DENIED


async def test_image_fs_info(service: Service, registry: Registry, small: str) -> None:
    """ImageFsInfo has a time, an existing directory, and bytes and inodes that are set even when they are small."""
    await service.pull(f"{registry.address}/test/small:1")
    [usage] = (await images.ImageFsInfo(service.node, cri.ImageFsInfoRequest())).image_filesystems
    assert usage.timestamp > 0
    assert Path(usage.fs_id.mountpoint).is_dir()
    assert usage.used_bytes.value > 0
    assert usage.inodes_used.value > 0
