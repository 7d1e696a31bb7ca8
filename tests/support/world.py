"""A world in memory for operations: drivers that only remember, and that fail or are cancelled where a test says.

    world = World(tmp_path)
    pod = await run_pod(world.node, config, "")
    world.steps         what the drivers were asked for, in order: "sandboxes.make", "networks.add", ...
    world.held          what is there now: "namespaces POD", "network POD", ...
    world.fail["networks.add"] = CrishimError(...)      that step raises, once, before it has done anything
    world.fail["networks.add"] = CANCEL                 the task is cancelled there
    world.delay["networks.add"] = 30                    that step takes so many seconds, each time
    world.processes[id]         a container's process, or POD-init: how long it takes to end, what it was sent

No thread, process, program or socket is made. In a loop with a clock of its own (own_clock.py) no time passes either.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crishim.cdi.edits import Edits
from crishim.engine.exec.limits import ExecLimits
from crishim.images.holds import Holds
from crishim.spec.inputs import Host
from tests.support.container_drivers import Filesystems, Handlers, Images, Launcher, Runtime, Transport
from tests.support.nodes import make_node
from tests.support.nri_in_memory import NriPlugins
from tests.support.outside_in_memory import Paths, install
from tests.support.pod_drivers import Inits, NetDevices, Networks, Sandboxes
from tests.support.processes_in_memory import Process, ProcessesInMemory

CANCEL = asyncio.CancelledError()


class World:
    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.kernel = ProcessesInMemory()
        (directory / "state/checkpoints").mkdir(parents=True)
        install(self, monkeypatch)
        self.steps: list[str] = []
        self.held: set[str] = set()
        self.fail: dict[str, BaseException] = {}
        self.delay: dict[str, float] = {}
        self.processes: dict[str, Process] = {}
        self.transport = Transport(self)
        self.reopens = True  # a log that is to be reopened is there at once
        self.runtime = Runtime(self)
        self.nri = NriPlugins(self)
        self.node: Any = None
        self.node = self.start()

    def start(self) -> Any:
        """The node of a new daemon over the same records and drivers; the old one, killed, does nothing more."""
        if self.node is not None:
            self.node.tasks.start = _ended
        return make_node(
            self.directory,
            sandboxes=Sandboxes(self),
            networks=Networks(self),
            inits=Inits(self),
            handlers=Handlers(self.runtime),
            cdi=SimpleNamespace(resolve=lambda names: Edits()),
            netdevices=NetDevices(self),
            nri=self.nri,
            images=Images(self.transport),
            transport=self.transport,
            image_holds=Holds(lambda: {c.image_id for c in self.node.containers}),
            paths=Paths(),
            host=Host(),
            exec_limits=ExecLimits(),
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
        await asyncio.sleep(self.delay.get(name, 0))

    async def done(self) -> None:
        """The step's effect is there, and its answer on the way."""
        await asyncio.sleep(0)

    def cgroup_file(self, container_id: str, name: str) -> Path:
        (pod,) = (c.pod_id for c in self.node.containers if c.id == container_id)
        return self.directory / f"cgroup/crishim-of-a-test/{pod}/{container_id}" / name

    def new_log(self, container_id: str) -> Path:
        """The file that conmon takes for the log when it reopens that."""
        return self.directory / f"{container_id}.log.tmp"

    def reopened(self, container_id: str) -> None:
        if self.reopens:
            self.new_log(container_id).unlink(missing_ok=True)

    def close(self) -> None:
        self.kernel.close()


def _ended(work: Coroutine[Any, Any, Any], *, name: str) -> None:
    work.close()
