"""A world's drivers of containers: the runtime, images, root file systems, bundles and processes."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from msgspec.structs import replace

from crishim.engine.checkpoint_archive import IMAGES
from crishim.engine.conmon import Launched
from crishim.errors import CrishimError, Kind
from crishim.images.reference import Reference
from crishim.model import ContainerRecord, ImageRecord, PodRecord, ProcessRef, User
from crishim.operations.filesystems import NewLog, PreparedRoot
from crishim.operations.launch import Drafted
from crishim.pb import cri_pb2 as cri
from crishim.spec.build import Built, Host, Inputs
from tests.support.pod_drivers import Driver, World

IMAGE = ImageRecord(id="sha256:1", repo_tags=("app:1",), repo_digests=(), size=1, config=b"{}", layers=("l",))


class Runtime(Driver):
    name = path = "crun"
    root = Path("/nowhere/crun")
    systemd = False

    async def features(self) -> dict[str, Any]:
        return {}

    async def start(self, id: str) -> None:
        await self.world.step("runtime.start")
        self.world.held.add(f"started {id}")
        await self.world.done()

    async def pause(self, id: str) -> None:
        (self.world.cgroup_file(id, "cgroup.freeze")).write_text("1")
        await self.world.step("runtime.pause")
        await self.world.done()

    async def state(self, id: str) -> str:
        await self.world.step("runtime.state")
        return "running" if f"started {id}" in self.world.held else "created"

    async def update(self, id: str, limits: object) -> None:
        await self.world.step("runtime.update")
        self.world.cgroup_file(id, "cpu.weight").write_text("999")

    async def delete(self, id: str, *, dead: bool = False) -> None:
        await self.world.step("runtime.delete")
        self.world.held -= {f"container {id}", f"started {id}"}
        shutil.rmtree(self.world.cgroup_file(id, ""), ignore_errors=True)
        await self.world.done()

    async def known(self) -> set[str]:
        return {thing.removeprefix("container ") for thing in self.world.held if thing.startswith("container ")}


class Handlers:
    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def offered(self, name: str) -> Runtime:
        if name not in ("", "crun"):
            raise CrishimError(Kind.INVALID, f"there is no runtime handler {name!r}")
        return self.runtime

    def get(self, name: str) -> Runtime:
        return self.runtime

    def __iter__(self) -> Iterator[Runtime]:
        return iter([self.runtime])


class Images:
    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    async def snapshot(self) -> Any:
        await self._transport.world.done()
        stored = self._transport.stored
        return SimpleNamespace(images=tuple(stored.values()), find=stored.get)

    async def find(self, name: str) -> ImageRecord | None:
        await self._transport.world.done()
        return self._transport.stored.get(name)


class Transport(Driver):
    """The images there are: `stored`, by the one name each has."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.stored = {"app:1": IMAGE}

    async def recover(self, *, collect_garbage: bool) -> None:
        await self.world.step("transport.recover")

    async def pull(self, reference: Reference, credentials: object) -> ImageRecord:
        await self.world.step("transport.pull")
        return await self._store(reference.path)

    async def import_archive(self, path: Path, name: str) -> list[ImageRecord]:
        await self.world.step("transport.import_archive")
        return [await self._store(name)]

    async def remove(self, image: ImageRecord) -> None:
        await self.world.step("transport.remove")
        self.stored = {name: each for name, each in self.stored.items() if each.id != image.id}
        await self.world.done()

    async def _store(self, name: str) -> ImageRecord:
        image = self.stored[name] = replace(IMAGE, id=f"sha256:{name}")
        await self.world.done()
        return image


class Filesystems(Driver):
    @contextlib.asynccontextmanager
    async def using(self, config: cri.ContainerConfig, base: str = "") -> AsyncIterator[ImageRecord]:
        await self.world.step("filesystems.using")
        yield IMAGE

    async def prepare(
        self,
        pod: PodRecord,
        container: ContainerRecord,
        image: ImageRecord,
        fill: Callable[[Path], Awaitable[None]] | None = None,
    ) -> PreparedRoot:
        self.world.held.add(f"rootfs {container.id}")  # some of it, whatever comes
        if fill is not None:
            (self.criu_images(container.id).parent / "upper").mkdir(parents=True)
            await fill(self.criu_images(container.id).parent)
        await self.world.step("filesystems.prepare")
        return PreparedRoot("/nowhere/rootfs", ())

    def log(self, container: ContainerRecord) -> str:
        return ""

    def criu_images(self, id: str) -> Path:
        return self.world.directory / "writable" / id / IMAGES

    async def delete_criu_images(self, id: str) -> None:
        await self.world.step("filesystems.delete_criu_images")
        shutil.rmtree(self.criu_images(id))
        await self.world.done()

    def upper(self, id: str) -> Path:
        return self.world.directory / "upper" / id

    async def attach_new_log(self, pod: PodRecord, container: ContainerRecord) -> NewLog:
        await self.world.step("filesystems.attach_new_log")
        link = self.world.new_log(container.id)
        is_first = not link.exists()
        link.touch()
        await self.world.done()
        return NewLog(link, is_first)

    async def release(self, container: ContainerRecord) -> None:
        await self.world.step("filesystems.release")

    async def delete(self, id: str) -> None:
        await self.world.step("filesystems.delete")
        assert f"container {id}" not in self.world.held, "the root file system goes before the container"
        self.world.held.discard(f"rootfs {id}")
        shutil.rmtree(self.criu_images(id).parent, ignore_errors=True)
        await self.world.done()

    async def remove_orphans(self, keep: set[str]) -> None:
        await self.world.step("filesystems.remove_orphans")


class Launcher(Driver):
    def bundle(self, id: str) -> Path:
        return self.world.directory / "bundles" / id

    def runtime(self, container: ContainerRecord) -> Runtime:
        runtime: Runtime = self.world.runtime
        return runtime

    def cgroup(self, pod: PodRecord, id: str) -> str:
        return f"{pod.cgroup_parent}/{id}"

    def stop_signal(self, config: cri.ContainerConfig, image: ImageRecord) -> int:
        return 15

    async def draft(self, pod: PodRecord, container: ContainerRecord, *facts: object) -> Drafted:
        await self.world.step("launcher.draft")
        spec = {"process": {"args": ["main"], "env": []}, "linux": {}, "mounts": []}
        inputs = Inputs(
            container_id=container.id,
            config=container.parse_config(),
            pod=pod.parse_config(),
            record=pod,
            image={},
            rootfs="/nowhere/rootfs",
            cgroups_path=self.cgroup(pod, container.id),
            host=Host(),
        )
        return Drafted(Built(spec, User(uid=0, gid=0), ()), inputs)

    def pod_cgroup(self, pod: PodRecord) -> str:
        return pod.cgroup_parent

    async def write_bundle(self, container: ContainerRecord, drafted: Drafted, net_devices: object) -> None:
        self.bundle(container.id).mkdir(parents=True)
        self.world.held.add(f"bundle {container.id}")
        (self.bundle(container.id) / "config.json").write_bytes(drafted.built.encode())
        await self.world.step("launcher.write_bundle")

    async def verify(self, container: ContainerRecord, built: Built, process: ProcessRef) -> None:
        await self.world.step("launcher.verify")

    async def create(self, container: ContainerRecord, log: str, images: Path | None = None) -> Launched:
        assert images is None or images.is_dir()
        self.world.held.add(f"container {container.id}")
        await self.world.step("launcher.create")
        group = self.world.cgroup_file(container.id, "")
        group.mkdir(parents=True)
        (group / "cpu.weight").write_text("20")
        monitor = self.world.kernel.start()
        record = self.bundle(container.id) / "exit"

        def ended(code: int) -> None:
            record.write_text(str(code))  # conmon's, before it ends
            monitor.end()

        process = self.world.processes[container.id] = self.world.kernel.start(ended)
        if images is not None:
            self.world.held.add(f"started {container.id}")
        await self.world.done()
        return Launched(process=process.reference, monitor=monitor.reference)

    def say_once(self, notes: list[str], id: str) -> None: ...

    async def end(self, container: ContainerRecord) -> None:
        await self.world.step("launcher.end")
        if (process := self.world.processes.pop(container.id, None)) is not None:
            process.end()
        shutil.rmtree(self.world.cgroup_file(container.id, ""), ignore_errors=True)
        self.world.held -= {f"container {container.id}", f"started {container.id}"}

    async def delete_bundle(self, id: str) -> None:
        await self.world.step("launcher.delete_bundle")
        shutil.rmtree(self.bundle(id), ignore_errors=True)
        self.world.held.discard(f"bundle {id}")
        await self.world.done()

    async def discard(self, container: ContainerRecord) -> None:
        await self.end(container)
        await self.delete_bundle(container.id)

    async def remove_orphans(self, keep: set[str]) -> None:
        await self.world.step("launcher.remove_orphans")
