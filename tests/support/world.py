"""A world in memory for operations: drivers that only remember, and that fail or are cancelled where a test says.

    world = World(tmp_path)
    pod = await run_pod(world.node, config, "")
    world.steps         what the drivers were asked for, in order: "sandboxes.make", "networks.add", ...
    world.held          what is there now: "namespaces POD", "network POD", ...
    world.fail["networks.add"] = CrishimError(...)      that step raises, once, before it has done anything
    world.fail["networks.add"] = CANCEL                 the task is cancelled there

A container's process is a real one that sleeps, so that signals and ends are what they are; close() ends what is left.
"""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from crishim.cdi.edits import Edits
from crishim.engine.conmon import Launched
from crishim.errors import CrishimError, Kind
from crishim.linux import processes
from crishim.model import ContainerRecord, ImageRecord, NamespacePaths, Network, PodRecord, ProcessRef, User
from crishim.operations.filesystems import PreparedRoot
from crishim.pb import cri_pb2 as cri
from crishim.spec.build import Built
from tests.support.nodes import make_node

CANCEL = asyncio.CancelledError()
IMAGE = ImageRecord(id="sha256:1", repo_tags=("app:1",), repo_digests=(), size=1, config=b"{}", layers=("l",))
CONFLIST = b'{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "bridge"}]}'
NETWORK = Network(name="n", conflist=CONFLIST, capability_args=b"{}", ips=("10.0.0.2",))


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.steps: list[str] = []
        self.held: set[str] = set()
        self.fail: dict[str, BaseException] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.runtime = Runtime(self)
        self.node = self.start()

    def start(self) -> Any:
        """The node of a new daemon over the same records and drivers."""
        return make_node(
            self.directory,
            sandboxes=Sandboxes(self),
            networks=Networks(self),
            inits=Inits(self),
            handlers=Handlers(self.runtime),
            cdi=SimpleNamespace(resolve=lambda names: Edits()),
            netdevices=NetDevices(self),
            images=Images(),
            transport=Transport(self),
            filesystems=Filesystems(self),
            launcher=Launcher(self),
        )

    async def step(self, name: str) -> None:
        """One thing a driver does: every one can fail, and every one suspends."""
        self.steps.append(name)
        fault = self.fail.pop(name, None)
        if fault is CANCEL:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        elif fault is not None:
            raise fault
        await asyncio.sleep(0)

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


class Driver:
    def __init__(self, world: World) -> None:
        self.world = world


class Sandboxes(Driver):
    def check_cgroup(self, config: cri.PodSandboxConfig) -> None: ...

    def plan(self, id: str, config: cri.PodSandboxConfig) -> NamespacePaths:
        return NamespacePaths(net=f"/nowhere/{id}/net", pid=f"/nowhere/{id}/pid" if config.hostname == "init" else "")

    def cgroup(self, id: str, config: cri.PodSandboxConfig) -> str:
        return f"/crishim-of-a-test/{id}"

    def directory(self, id: str) -> Path:
        return self.world.directory / "run/pods" / id

    async def make(self, pod: PodRecord) -> None:
        await self.world.step("sandboxes.make")
        self.world.held.add(f"namespaces {pod.id}")

    async def set_addresses(self, pod: PodRecord, ips: tuple[str, ...]) -> None:
        await self.world.step("sandboxes.set_addresses")

    async def remove(self, id: str) -> None:
        await self.world.step("sandboxes.remove")
        assert f"network {id}" not in self.world.held, "the namespaces go before the network"
        self.world.held.discard(f"namespaces {id}")

    def is_whole(self, pod: PodRecord) -> bool:
        return f"namespaces {pod.id}" in self.world.held

    def known(self) -> set[str]:
        return {thing.removeprefix("namespaces ") for thing in self.world.held if thing.startswith("namespaces ")}


class Networks(Driver):
    async def plan(self, config: cri.PodSandboxConfig) -> Network:
        await self.world.step("networks.plan")
        return NETWORK

    async def add(self, pod: PodRecord) -> Network | None:
        await self.world.step("networks.add")
        self.world.held.add(f"network {pod.id}")
        return NETWORK

    async def delete(self, pod: PodRecord, netns: str) -> None:
        await self.world.step("networks.delete")
        assert f"devices {pod.id}" not in self.world.held or "netdevices.return_devices" in self.world.steps
        self.world.held.discard(f"network {pod.id}")

    async def release(self, id: str, netns: str) -> None:
        await self.world.step("networks.release")
        self.world.held.discard(f"network {id}")

    async def wait_for_plugins(self, pod: PodRecord) -> None:
        await self.world.step("networks.wait_for_plugins")


class Inits(Driver):
    async def start(self, pod: PodRecord, directory: Path, runtime: object) -> ProcessRef | None:
        if not pod.namespaces.pid:
            return None
        await self.world.step("inits.start")
        self.world.held.add(f"init {pod.id}")
        return processes.reference(1)

    async def stop(self, pod: PodRecord, runtime: object) -> None:
        await self.world.step("inits.stop")
        self.world.held.discard(f"init {pod.id}")


class Plan(Driver):
    """Devices of one container; entered with leases, and left with an error gives them back."""

    entries: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, world: World, pod: str) -> None:
        super().__init__(world)
        self.pod = pod

    async def __aenter__(self) -> "Plan":
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None:
            self.world.held.discard(f"devices {self.pod}")

    async def begin(self) -> None:
        await self.world.step("plan.begin")
        self.world.held.add(f"devices {self.pod}")

    async def verify_and_repair(self) -> None:
        await self.world.step("plan.verify_and_repair")


class NetDevices(Driver):
    async def plan(self, requests: object, pod: Any, mover: object) -> Plan:
        await self.world.step("netdevices.plan")
        return Plan(self.world, pod.id)

    async def hold(self, pod_id: str) -> None:
        await self.world.step("netdevices.hold")

    async def return_devices(self, pod: Any) -> None:
        await self.world.step("netdevices.return_devices")
        self.world.held.discard(f"devices {pod.id}")

    async def forget(self, id: str) -> None:
        await self.world.step("netdevices.forget")

    async def recover(self, alive: object) -> None:
        await self.world.step("netdevices.recover")


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

    async def delete(self, id: str) -> None:
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
    async def recover(self, *, sweep_store: bool) -> None:
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

    async def sweep(self, keep: set[str]) -> None:
        await self.world.step("filesystems.sweep")


class Launcher(Driver):
    def bundle(self, id: str) -> Path:
        return self.world.directory / "bundles" / id

    def runtime(self, container: ContainerRecord) -> Runtime:
        return self.world.runtime

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

    async def sweep(self, keep: set[str]) -> None:
        await self.world.step("launcher.sweep")
