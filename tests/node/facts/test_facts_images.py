"""Images through the socket: references, filters, removal, errors."""

import concurrent.futures
import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon, scratch_daemon
from tests.support.image_node import tar_files
from tests.support.pods import container_config, create, remove_pod, run_pod, status
from tests.support.registry import Registry, free_port
from tests.support.registry import registry as registry
from tests.support.registry import registry_files as registry_files

pytestmark = pytest.mark.node
Code = grpc.StatusCode


@pytest.fixture(scope="module")
def node(busybox_archive: Path, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that knows the registry and pins some images."""
    conf = tmp_path_factory.mktemp("conf") / "registries.conf"
    conf.write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
    with scratch_daemon(images={"registries_conf": str(conf), "pinned": ["*/pinned:*"]}) as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        yield daemon


def pull(daemon: Daemon, name: str, **fields: float) -> str:
    return str(daemon.call("PullImage", image=cri.ImageSpec(image=name), **fields).image_ref)


def find(daemon: Daemon, name: str) -> cri.Image | None:
    answer = daemon.call("ImageStatus", image=cri.ImageSpec(image=name))
    return answer.image if answer.HasField("image") else None


def listed(daemon: Daemon, name: str = "") -> dict[str, cri.Image]:
    wanted = cri.ImageFilter(image=cri.ImageSpec(image=name))
    return {i.id: i for i in daemon.call("ListImages", filter=wanted).images}


def remove(daemon: Daemon, name: str) -> None:
    daemon.call("RemoveImage", image=cri.ImageSpec(image=name))


@pytest.fixture
def digest(registry: Registry) -> str:
    """Of an image of its own under facts/a:1, facts/a:2 and facts/b:1."""
    return registry.push(["facts/a:1", "facts/a:2", "facts/b:1"], [tar_files({"f": os.urandom(16)})], {"User": "7:8"})


@pytest.mark.fact("ListContainers", "ContainerStatus", "PullImage", "image collection")
def test_one_reference(daemon: Daemon, registry: Registry, digest: str) -> None:
    """PullImage: image_ref is Image.id, and image_id and image_ref of the containers made from it."""
    name = f"{registry.address}/facts/a:1"
    ref = pull(daemon, name)
    image = find(daemon, name)
    assert image is not None
    assert (image.id, list(image.repo_tags)) == (ref, [name])
    assert list(image.repo_digests) == [f"{registry.address}/facts/a@{digest}"]
    assert image.size > 0
    assert (image.uid.value, image.username) == (7, "")
    config = container_config(command=["/f"])
    for asked in (name, ref, f"{registry.address}/facts/a@{digest}"):
        pod = run_pod(daemon)
        config.image.image = asked
        config.linux.security_context.run_as_user.value = 7
        try:
            one = create(daemon, pod, config)
        except grpc.RpcError as error:
            assert "/f" in error.details()  # crun looks at the command early  # noqa: PT017
        else:
            found = status(daemon, one)
            assert found.image_id == found.image_ref == ref
            assert found.image.image == asked
        remove_pod(daemon, pod)
    remove(daemon, ref)
    assert find(daemon, ref) is None


@pytest.mark.fact("ListImages", "ImageStatus")
def test_pulled_by_digest(daemon: Daemon, registry: Registry, digest: str) -> None:
    """ImageStatus: pulled by digest there is no tag, and exactly that repository digest."""
    name = f"{registry.address}/facts/a@{digest}"
    ref = pull(daemon, name)
    image = find(daemon, name)
    assert image is not None
    assert (image.id, list(image.repo_tags), list(image.repo_digests)) == (ref, [], [name])
    remove(daemon, name)


@pytest.mark.fact("ListImages", "ImageStatus")
def test_the_filter_is_honoured(daemon: Daemon, registry: Registry, digest: str) -> None:
    """ListImages: the filter is honoured by tag, digest and id; what is not there gives an empty list."""
    name = f"{registry.address}/facts/a:1"
    ref = pull(daemon, name)
    assert len(listed(daemon)) == 2
    for asked in (name, ref, f"{registry.address}/facts/a@{digest}"):
        assert set(listed(daemon, asked)) == {ref}
    assert listed(daemon, f"{registry.address}/facts/a:9") == {}
    remove(daemon, name)


@pytest.mark.fact("RemoveImage")
def test_removal_by_one_tag(daemon: Daemon, registry: Registry, digest: str) -> None:
    """RemoveImage: by one tag all tags go, across repositories; five at once succeed, it is gone as each returns."""
    names = [f"{registry.address}/facts/{n}" for n in ("a:1", "a:2", "b:1")]
    refs = {pull(daemon, name) for name in names}
    assert len(refs) == 1

    def take_away(_: int) -> cri.Image | None:
        remove(daemon, names[1])
        return find(daemon, names[0])

    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        assert list(pool.map(take_away, range(5))) == [None] * 5
    assert [find(daemon, n) for n in (*names, *refs)] == [None] * 4
    remove(daemon, names[0])


@pytest.mark.fact("ListImages", "ImageStatus", "image collection")
def test_pinned(daemon: Daemon, registry: Registry) -> None:
    """Image.pinned: as the setting says, in list and status alike."""
    registry.push(["facts/pinned:1"], [tar_files({"p": os.urandom(16)})])
    name = f"{registry.address}/facts/pinned:1"
    ref = pull(daemon, name)
    image = find(daemon, ref)
    assert image is not None
    assert image.pinned
    assert {i.pinned for i in listed(daemon).values()} == {True, False}
    remove(daemon, ref)


@pytest.mark.fact("PullImage")
def test_a_pull_under_a_short_deadline(daemon: Daemon, registry: Registry, digest: str) -> None:
    """PullImage: a client's deadline is DEADLINE_EXCEEDED, and the next pull works."""
    name = f"{registry.address}/facts/a:1"
    with pytest.raises(grpc.RpcError) as caught:
        pull(daemon, name, deadline=0.001)
    assert caught.value.code() == Code.DEADLINE_EXCEEDED
    remove(daemon, pull(daemon, name))


@pytest.mark.fact("PullImage")
def test_errors_the_kubelet_knows(daemon: Daemon, registry: Registry) -> None:
    """PullImage: RegistryUnavailable comes as a prefix with code UNKNOWN; an image that is not there is NOT_FOUND."""
    with pytest.raises(grpc.RpcError) as caught:
        pull(daemon, f"127.0.0.1:{free_port()}/no/one:1")
    assert caught.value.code() == Code.UNKNOWN
    assert caught.value.details().startswith("RegistryUnavailable")
    with pytest.raises(grpc.RpcError) as caught:
        pull(daemon, f"{registry.address}/no/such:1")
    assert caught.value.code() == Code.NOT_FOUND


@pytest.mark.fact("PullImage")
def test_identical_pulls(daemon: Daemon, registry: Registry, digest: str) -> None:
    """PullImage: identical pulls at once all succeed with one reference."""
    name = f"{registry.address}/facts/a:1"
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        refs = set(pool.map(lambda _: pull(daemon, name), range(5)))
    assert len(refs) == 1
    remove(daemon, name)


@pytest.mark.fact("ImageFsInfo", "image collection")
def test_image_fs_info(daemon: Daemon) -> None:
    """ImageFsInfo: a time, an existing directory as mountpoint, and both figures set."""
    (usage,) = daemon.call("ImageFsInfo").image_filesystems
    assert usage.timestamp > 0
    assert Path(usage.fs_id.mountpoint).is_dir()
    assert usage.HasField("used_bytes")
    assert usage.HasField("inodes_used")
