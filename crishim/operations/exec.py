"""Commands in running containers: ExecSync, interactive exec, attach.

They run through the container's own runtime, as the same user and with the same limits.
"""

from pathlib import Path
from typing import Any

import msgspec

from crishim.engine import attach, exec_session, exec_sync
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.linux import executors
from crishim.model import ContainerRecord, ExecSpec
from crishim.node import Node
from crishim.spec.process import exec_process


async def run_sync(node: Node, container: ContainerRecord, spec: ExecSpec, timeout: float) -> exec_sync.SyncResult:
    """Run a command to its end; see exec_sync.run_sync. It waits for its turn first: see exec_shares."""
    async with node.exec_shares.place(container.id, timeout) as share:
        container = running(node, container.id)
        runtime = node.handlers.get(container.handler)
        process = await _process(node, container, spec)
        return await exec_sync.run_sync(
            Path(runtime.path),
            runtime.root,
            container.id,
            process,
            scratch(node),
            timeout=timeout,
            keep=share.keep,
        )


async def open_exec(node: Node, container_id: str, spec: ExecSpec) -> exec_session.ExecSession:
    """Start an interactive command. PRECONDITION if the container does not run."""
    container = running(node, container_id)
    runtime = node.handlers.get(container.handler)
    return await exec_session.start(
        Path(runtime.path),
        runtime.root,
        container.id,
        await _process(node, container, spec),
        scratch(node),
        stdin=spec.stdin,
        stdout=spec.stdout,
        stderr=spec.stderr,
    )


async def open_attach(
    node: Node, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
) -> attach.Attachment:
    """Connect to the container's own streams. PRECONDITION if it does not run."""
    container = running(node, container_id)
    bundle = node.launcher.bundle(container.id)
    config = container.parse_config()
    if tty != config.tty:
        has = "a terminal" if config.tty else "no terminal"
        raise CrishimError(Kind.INVALID, f"container {container.id[:13]} has {has}", container=container.id)
    return await attach.open_attachment(
        bundle / "attach", bundle / "ctl", stdin=stdin, stdout=stdout, stderr=stderr, tty=tty
    )


def running(node: Node, id: str) -> ContainerRecord:
    """The running container of an id or of the beginning of one. NOT_FOUND; PRECONDITION in any other state."""
    container = node.containers.find(id)
    if container.state is not ContainerState.RUNNING:
        raise CrishimError(
            Kind.PRECONDITION,
            f"container {container.id[:13]} is {container.state}, not running",
            container=container.id,
        )
    return container


def scratch(node: Node) -> Path:
    """The directory of the sessions' small files."""
    return Path(node.config.run_dir) / "exec"


async def _process(node: Node, container: ContainerRecord, spec: ExecSpec) -> dict[str, Any]:
    config = await executors.records((node.launcher.bundle(container.id) / "config.json").read_bytes)
    return exec_process(msgspec.json.decode(config), spec.argv, tty=spec.tty)
