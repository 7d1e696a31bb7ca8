"""Run commands in containers (ExecSync, interactive exec), and attach to their streams.

Commands are run by the container's own runtime, as the same user and with the same limits.
"""

from pathlib import Path

import msgspec

from crishim.engine import attach
from crishim.engine.exec import session, sync
from crishim.engine.exec.child import Command
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.linux import async_files
from crishim.model import ContainerRecord, ExecSpec
from crishim.node import Node
from crishim.spec.process import exec_process


async def exec_sync(node: Node, container_id: str, spec: ExecSpec, timeout: float) -> sync.SyncResult:
    """Run a command to its end, after waiting for a slot (engine/exec/limits.py). Raises what sync.run() does,

    NOT_FOUND, and PRECONDITION if the container does not run, before or after waiting.
    """
    running_container(node, container_id)
    async with node.exec_limits.slot(container_id, timeout) as slot:
        command = await _command(node, running_container(node, container_id), spec)
        return await sync.run(command, slot, timeout=timeout)


async def open_exec(node: Node, container_id: str, spec: ExecSpec) -> session.ExecSession:
    """Start an interactive command. Raises PRECONDITION if the container does not run."""
    command = await _command(node, running_container(node, container_id), spec)
    return await session.start(command, stdin=spec.stdin, stdout=spec.stdout, stderr=spec.stderr)


async def open_attach(
    node: Node, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
) -> attach.AttachSession:
    """Connect to the container's own streams. Raises PRECONDITION if it does not run, INVALID if tty differs."""
    container = running_container(node, container_id)
    bundle = node.launcher.bundle(container.id)
    config = container.parse_config()
    if tty != config.tty:
        has = "a terminal" if config.tty else "no terminal"
        raise CrishimError(Kind.INVALID, f"container {container.id[:13]} has {has}", container=container.id)
    return await attach.connect(bundle / "attach", bundle / "ctl", stdin=stdin, stdout=stdout, stderr=stderr, tty=tty)


def running_container(node: Node, id: str) -> ContainerRecord:
    """The running container of an id or an id's prefix. Raises NOT_FOUND; PRECONDITION in any other state."""
    container = node.containers.find(id)
    if container.state is not ContainerState.RUNNING:
        raise CrishimError(
            Kind.PRECONDITION,
            f"container {container.id[:13]} is {container.state}, not running",
            container=container.id,
        )
    return container


def scratch(node: Node) -> Path:
    """The directory of the sessions' temporary files."""
    return Path(node.config.run_dir) / "exec"


async def _command(node: Node, container: ContainerRecord, spec: ExecSpec) -> Command:
    """The command as the container's first process runs: the same user, limits and environment."""
    config = await async_files.read(node.launcher.bundle(container.id) / "config.json")
    process = exec_process(msgspec.json.decode(config), spec.argv, tty=spec.tty)
    runtime = node.handlers.get(container.handler)
    return Command(Path(runtime.path), runtime.root, container.id, process, scratch(node))
