"""A world's drivers of pods: namespaces, the network, the init, network devices."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from crishim.cni.chain import CheckResult
from crishim.cni.network import Check
from crishim.model import NamespacePaths, Network, PodRecord, ProcessRef
from crishim.pb import cri_pb2 as cri
from tests.support.processes_in_memory import Process, ProcessesInMemory

CONFLIST = b'{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "bridge"}]}'
NETWORK = Network(name="n", conflist=CONFLIST, capability_args=b"{}", ips=("10.0.0.2",))


class World(Protocol):
    """What the drivers need of it."""

    directory: Path
    steps: list[str]
    held: set[str]
    processes: dict[str, Process]
    kernel: ProcessesInMemory
    runtime: Any

    def new_log(self, container_id: str) -> Path: ...
    def reopened(self, container_id: str) -> None: ...
    def cgroup_file(self, container_id: str, name: str) -> Path: ...
    async def step(self, name: str) -> None: ...
    async def done(self) -> None: ...


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
        await self.world.done()

    async def set_addresses(self, pod: PodRecord, ips: tuple[str, ...]) -> None:
        await self.world.step("sandboxes.set_addresses")

    async def remove(self, id: str) -> None:
        await self.world.step("sandboxes.remove")
        assert f"network {id}" not in self.world.held, "the namespaces go before the network"
        self.world.held.discard(f"namespaces {id}")
        await self.world.done()

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
        await self.world.done()
        return NETWORK

    async def delete(self, pod: PodRecord, netns: str) -> None:
        await self.world.step("networks.delete")
        assert f"devices {pod.id}" not in self.world.held or "netdevices.return_devices" in self.world.steps
        self.world.held.discard(f"network {pod.id}")
        await self.world.done()

    async def check(self, pod: PodRecord) -> Check:
        await self.world.step("networks.check")
        assert f"network {pod.id}" in self.world.held, "there is no network to check"
        return Check(at=1, answers=(CheckResult("bridge", "", 0.01),))

    async def release(self, id: str, netns: str) -> None:
        await self.world.step("networks.release")
        self.world.held.discard(f"network {id}")
        await self.world.done()

    async def wait_for_plugins(self, pod: PodRecord) -> None:
        await self.world.step("networks.wait_for_plugins")


class Inits(Driver):
    async def start(self, pod: PodRecord, directory: Path, runtime: object) -> ProcessRef | None:
        if not pod.namespaces.pid:
            return None
        await self.world.step("inits.start")
        self.world.held.add(f"init {pod.id}")
        process = self.world.processes[f"{pod.id}-init"] = self.world.kernel.start()
        await self.world.done()
        return process.reference

    async def stop(self, pod: PodRecord, runtime: object) -> None:
        await self.world.step("inits.stop")
        self.world.held.discard(f"init {pod.id}")
        if process := self.world.processes.pop(f"{pod.id}-init", None):
            process.end()
        await self.world.done()


class Plan(Driver):
    """Devices of one container; entered with leases, and left with an error gives them back."""

    entries: dict[str, Any] = {}  # noqa: RUF012
    new = (SimpleNamespace(host=SimpleNamespace(name="demo0")),)

    def __init__(self, world: World, pod: str) -> None:
        super().__init__(world)
        self.pod = pod

    async def __aenter__(self) -> "Plan":
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None:
            self.world.steps.append("plan undone")
            self.world.held.discard(f"devices {self.pod}")

    async def begin(self) -> None:
        await self.world.step("plan.begin")
        self.world.held.add(f"devices {self.pod}")
        await self.world.done()

    async def verify_and_repair(self) -> None:
        await self.world.step("plan.verify_and_repair")


class NetDevices(Driver):
    async def plan(self, requests: object, pod: Any, mover: object) -> Plan:
        await self.world.step("netdevices.plan")
        return Plan(self.world, pod.id)

    def attachments(self, pod_id: str = "") -> list[Any]:
        return []

    async def hold_namespaces(self, pod_id: str) -> None:
        await self.world.step("netdevices.hold_namespaces")

    async def return_devices(self, pod: Any) -> None:
        await self.world.step("netdevices.return_devices")
        self.world.held.discard(f"devices {pod.id}")
        await self.world.done()

    def find(self, pod_id: str, device: str) -> Any:
        there = f"devices {pod_id}" in self.world.held
        return SimpleNamespace(host=SimpleNamespace(name=device, altnames=()), name="net1") if there else None

    async def detach(self, pod: Any, device: str) -> str:
        await self.world.step("netdevices.detach")
        self.world.held.discard(f"devices {pod.id}")
        await self.world.done()
        return device

    async def forget(self, id: str) -> None:
        await self.world.step("netdevices.forget")

    async def recover(self, alive: object) -> None:
        await self.world.step("netdevices.recover")
