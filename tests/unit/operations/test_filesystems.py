"""A container's file system: what is mounted for it, from which images, and what is left of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.engine import logs
from crishim.errors import CrishimError, Kind
from crishim.images.holds import Holds
from crishim.linux.pod_paths import PodPaths
from crishim.model import ContainerRecord, ImageRecord
from crishim.operations.filesystems import Filesystems, Places
from crishim.pb import cri_pb2 as cri
from tests.unit.cri.records import container, pod

ID = "c" * 64


def image(id: str) -> ImageRecord:
    return ImageRecord(id=id, repo_tags=(), repo_digests=(), size=0, config=b"{}", layers=())


class Images:
    """The store: images by any of their names."""

    def __init__(self) -> None:
        self.known = {name: image(f"sha256:{name}") for name in ("app", "data", "more")}

    async def find(self, name: str) -> ImageRecord | None:
        return self.known.get(name)


class Roots:
    """RootFilesystems: a mount is a directory. done: what was asked for. fails: at the mount of an image."""

    def __init__(self) -> None:
        self.done: list[tuple[str, ...]] = []
        self.fails = ""

    def _mount(self, what: str, image: ImageRecord, target: Path) -> Path:
        self.done.append((what, image.id, target.name))
        if image.id == self.fails:
            raise CrishimError(Kind.PRECONDITION, "no overlayfs")
        target.mkdir()
        return target

    async def mount(self, image: ImageRecord, state: Path, target: Path, *, idmap: Any) -> Path:
        assert (state.stat().st_mode & 0o777, target.parent.stat().st_mode & 0o777, idmap) == (0o700, 0o700, None)
        return self._mount("mount", image, target)

    async def mount_readonly(self, image: ImageRecord, target: Path, *, idmap: Any) -> Path:
        return self._mount("volume", image, target)

    async def unmount(self, target: Path) -> None:
        self.done.append(("unmount", target.name))
        target.rmdir()

    async def remove(self, state: Path, target: Path) -> None:
        self.done.append(("remove", state.name))
        if state.exists():
            state.rmdir()


class Handlers:
    def get(self, handler: str) -> "Handlers":
        assert handler == "crun"
        return self

    async def features(self) -> dict[str, Any]:
        return {}


class Scene:
    def __init__(self, path: Path) -> None:
        self.places = Places(path / "writable", path / "roots")
        for directory in (self.places.writable, self.places.roots):
            directory.mkdir()
        self.in_use: set[str] = set()
        self.holds = Holds(lambda: self.in_use)
        self.roots = Roots()
        roots: Any = self.roots
        images: Any = Images()
        handlers: Any = Handlers()
        self.filesystems = Filesystems(
            images, self.holds, roots, self.places, handlers, PodPaths(5), create_missing=True
        )

    def is_held(self, id: str) -> bool:
        try:
            with self.holds.removing(id):
                return False
        except CrishimError:
            return True

    @property
    def left(self) -> list[str]:
        return sorted(p.relative_to(self.places.roots.parent).as_posix() for p in self.places.roots.parent.rglob("*"))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def config(*mounts: cri.Mount, name: str = "app") -> cri.ContainerConfig:
    return cri.ContainerConfig(image=cri.ImageSpec(image=name), mounts=mounts)


def volume(path: str, name: str) -> cri.Mount:
    return cri.Mount(container_path=path, image=cri.ImageSpec(image=name), readonly=True)


def made(wanted: cri.ContainerConfig, **fields: Any) -> ContainerRecord:
    return replace(container(ID), config=wanted.SerializeToString(), **fields)


async def test_its_images_are_held(scene: Scene) -> None:
    """While it is made from them: its own and those of its volumes, and no longer. One that is not there is not."""
    async with scene.filesystems.using(config(volume("/a", "data"), volume("/b", "nosuch"))) as found:
        assert found.id == "sha256:app"
        assert scene.is_held("sha256:app")
        assert scene.is_held("sha256:data")
        assert not scene.is_held("sha256:more")
    assert not scene.is_held("sha256:app")
    assert not scene.is_held("sha256:data")


@pytest.mark.parametrize(("name", "kind"), [("", Kind.INVALID), ("nosuch", Kind.NOT_FOUND)])
async def test_no_image(scene: Scene, name: str, kind: Kind) -> None:
    with pytest.raises(CrishimError) as raised:
        async with scene.filesystems.using(config(name=name)):
            pass
    assert raised.value.kind is kind


async def test_an_image_that_is_being_removed(scene: Scene) -> None:
    """Holds nothing else."""
    with scene.holds.removing("sha256:data"), pytest.raises(CrishimError) as raised:
        async with scene.filesystems.using(config(volume("/a", "data"))):
            pass
    assert raised.value.kind is Kind.NOT_FOUND
    assert not scene.is_held("sha256:app")


async def test_what_is_mounted(scene: Scene, tmp_path: Path) -> None:
    """The root, image volumes by their place in the request, host paths as they are resolved; missing ones are made."""
    host = cri.Mount(container_path="/host", host_path=str(tmp_path / "new"))
    wanted = config(host, volume("/a", "data"), volume("/b", "more"))
    prepared = await scene.filesystems.prepare(pod(), made(wanted), image("sha256:app"))
    assert scene.roots.done == [
        ("mount", "sha256:app", "rootfs"),
        ("volume", "sha256:data", "volume-1"),
        ("volume", "sha256:more", "volume-2"),
    ]
    root = scene.places.roots / ID
    assert prepared.rootfs == str(root / "rootfs")
    assert [(m.request.container_path, m.source) for m in prepared.mounts] == [
        ("/host", str(tmp_path / "new")),
        ("/a", str(root / "volume-1")),
        ("/b", str(root / "volume-2")),
    ]
    assert (tmp_path / "new").is_dir()


@pytest.mark.parametrize("name", ["nosuch", "data"])
async def test_an_image_volume_that_cannot_be_had(scene: Scene, name: str) -> None:
    """The kubelet knows it by a prefix and a code; what was mounted before goes with delete()."""
    scene.roots.fails = "sha256:data"
    with pytest.raises(CrishimError) as raised:
        await scene.filesystems.prepare(pod(), made(config(volume("/a", name))), image("sha256:app"))
    assert raised.value.kind is Kind.UNKNOWN
    assert raised.value.message.startswith("ImageVolumeMountFailed: ")
    await scene.filesystems.delete(ID)
    assert scene.left == ["roots", "writable"]


async def test_release_and_delete(scene: Scene) -> None:
    """An ended container's mounts go, its writable layer stays until it is deleted; twice is fine."""
    record = made(config(volume("/a", "data")))
    await scene.filesystems.prepare(pod(), record, image("sha256:app"))
    await scene.filesystems.release(record)
    assert scene.left == ["roots", f"roots/{ID}", "writable", f"writable/{ID}"]
    assert scene.filesystems.upper(ID) == scene.places.writable / ID / "upper"
    for _ in range(2):
        await scene.filesystems.delete(ID)
        assert scene.left == ["roots", "writable"]


async def test_orphans(scene: Scene) -> None:
    """What is nobody's goes, by either of its directories; what does not look like a container's stays."""
    other, third = "a" * 64, "b" * 64
    for directory in (scene.places.writable / other, scene.places.roots / third, scene.places.roots / "notes"):
        directory.mkdir()
    await scene.filesystems.prepare(pod(), made(config()), image("sha256:app"))
    await scene.filesystems.remove_orphans({ID})
    assert scene.left == ["roots", f"roots/{ID}", f"roots/{ID}/rootfs", "roots/notes", "writable", f"writable/{ID}"]


class Logs:
    """engine/logs.py. done: what was opened and linked; closed: how many files were."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.closed = 0

    def open_file(self, top: str, path: str, *, anew: bool) -> "Logs":
        self.done.append((top, path, anew))
        return self

    def close(self) -> None:
        self.closed += 1

    def link_file(self, _: "Logs", path: str, link: Path) -> bool:
        self.done.append((path, link.name))
        if path.endswith("full"):
            raise CrishimError(Kind.EXHAUSTED, "the disk is full")
        return True


@pytest.fixture
def log_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[Logs]:
    made_up = Logs()
    monkeypatch.setattr(logs, "open_file", made_up.open_file)
    monkeypatch.setattr(logs, "link_file", made_up.link_file)
    yield made_up
    assert made_up.closed == sum(isinstance(x[-1], bool) for x in made_up.done)


def logging_pod() -> Any:
    wanted = cri.PodSandboxConfig(log_directory="/logs/p1")
    return replace(pod(), config=wanted.SerializeToString())


async def test_a_log(scene: Scene, log_files: Logs) -> None:
    """Made for the start, made anew for a reopening, where conmon finds it; a container without one has none."""
    record = made(config(), log_path="/logs/p1/c/0.log")
    await scene.filesystems.attach_log(logging_pod(), record)
    name = scene.places.log(record).name
    assert scene.filesystems.log(record) == str(scene.places.log(record))
    new = await scene.filesystems.attach_new_log(logging_pod(), record)
    assert new == (scene.places.log(record).with_name(f"{name}.tmp"), True)
    assert log_files.done == [
        ("/logs/p1", "/logs/p1/c/0.log", False),
        ("/logs/p1/c/0.log", name),
        ("/logs/p1", "/logs/p1/c/0.log", True),
        ("/logs/p1/c/0.log", f"{name}.tmp"),
    ]
    silent = made(config())
    await scene.filesystems.attach_log(logging_pod(), silent)
    assert scene.filesystems.log(silent) == ""
    assert len(log_files.done) == 4


async def test_a_log_that_cannot_be_linked(scene: Scene, log_files: Logs) -> None:
    """Its file is closed all the same."""
    with pytest.raises(CrishimError, match="full"):
        await scene.filesystems.attach_log(logging_pod(), made(config(), log_path="/logs/p1/full"))
