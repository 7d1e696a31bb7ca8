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
import subprocess
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from crishim.cdi.edits import Edits
from tests.support.container_drivers import Filesystems, Handlers, Images, Launcher, Runtime, Transport
from tests.support.nodes import make_node
from tests.support.pod_drivers import Inits, NetDevices, Networks, Sandboxes

CANCEL = asyncio.CancelledError()


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.steps: list[str] = []
        self.held: set[str] = set()
        self.fail: dict[str, BaseException] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.runtime = Runtime(self)
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


def _ended(work: Coroutine[Any, Any, Any], *, name: str) -> None:
    work.close()
