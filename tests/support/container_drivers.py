"""A world's drivers of containers: the runtime, images, root file systems, bundles and processes."""

import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from crishim.engine.conmon import Launched
from crishim.errors import CrishimError, Kind
from crishim.linux import processes
from crishim.model import ContainerRecord, ImageRecord, PodRecord, ProcessRef, User
from crishim.operations.filesystems import PreparedRoot
from crishim.pb import cri_pb2 as cri
from crishim.spec.build import Built
from tests.support.pod_drivers import Driver

IMAGE = ImageRecord(id="sha256:1", repo_tags=("app:1",), repo_digests=(), size=1, config=b"{}", layers=("l",))


class Runtime(Driver):
    name = path = "crun"

    async def features(self) -> dict[str, Any]:
        return {}

    async def start(self, id: str) -> None:
        await self.world.step("runtime.start")
        self.world.held.add(f"started {id}")

    async def state(self, id: str) -> str:
        await self.world.step("runtime.state")
        return "running" if f"started {id}" in self.world.held else "created"

    async def delete(self, id: str, *, dead: bool = False) -> None:
        await self.world.step("runtime.delete")
        self.world.held -= {f"container {id}", f"started {id}"}

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
    async def snapshot(self) -> Any:
        return SimpleNamespace(images=(IMAGE,))


class Transport(Driver):
    async def recover(self, *, collect_garbage: bool) -> None:
        await self.world.step("transport.recover")


class Filesystems(Driver):
    @contextlib.asynccontextmanager
    async def using(self, config: cri.ContainerConfig) -> AsyncIterator[ImageRecord]:
        await self.world.step("filesystems.using")
        yield IMAGE

    async def prepare(self, pod: PodRecord, container: ContainerRecord, image: ImageRecord) -> PreparedRoot:
        self.world.held.add(f"rootfs {container.id}")  # some of it, whatever comes
        await self.world.step("filesystems.prepare")
        return PreparedRoot("/nowhere/rootfs", ())

    def log(self, container: ContainerRecord) -> str:
        return ""

    async def release(self, container: ContainerRecord) -> None:
        await self.world.step("filesystems.release")

    async def delete(self, id: str) -> None:
        await self.world.step("filesystems.delete")
        assert f"container {id}" not in self.world.held, "the root file system goes before the container"
        self.world.held.discard(f"rootfs {id}")

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

    async def write_bundle(self, pod: PodRecord, container: ContainerRecord, *facts: object) -> Built:
        self.bundle(container.id).mkdir(parents=True)
        self.world.held.add(f"bundle {container.id}")
        await self.world.step("launcher.write_bundle")
        return Built({}, User(uid=0, gid=0), ())

    async def verify(self, container: ContainerRecord, built: Built, process: ProcessRef) -> None:
        await self.world.step("launcher.verify")

    async def create(self, container: ContainerRecord, log: str) -> Launched:
        self.world.held.add(f"container {container.id}")
        await self.world.step("launcher.create")
        (self.bundle(container.id) / "exit").write_text("137")
        process = self.world.processes[container.id] = subprocess.Popen(["sleep", "1000"])  # noqa: ASYNC220
        reference = processes.reference(process.pid)
        assert reference is not None
        return Launched(process=reference, monitor=reference)

    async def end(self, container: ContainerRecord) -> None:
        await self.world.step("launcher.end")
        if (process := self.world.processes.pop(container.id, None)) is not None:
            process.kill()
            process.wait()
        self.world.held -= {f"container {container.id}", f"started {container.id}"}

    async def delete_bundle(self, id: str) -> None:
        await self.world.step("launcher.delete_bundle")
        self.world.held.discard(f"bundle {id}")

    async def discard(self, container: ContainerRecord) -> None:
        await self.end(container)
        await self.delete_bundle(container.id)

    async def remove_orphans(self, keep: set[str]) -> None:
        await self.world.step("launcher.remove_orphans")
