"""Commands in running containers: ExecSync, interactive exec, attach."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from crishim.engine import attach, exec_session, exec_sync
from crishim.engine.exec_shares import Shares
from crishim.engine.handlers import Handlers
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.model import ContainerRecord, ExecSpec
from crishim.spec.process import exec_process
from crishim.state.store import Store
from crishim.wire.linux import executors


class Executor:
    """Runs commands through the container's own runtime, as the same user and with the same limits."""

    def __init__(
        self, containers: Store[ContainerRecord], handlers: Handlers, bundle: Callable[[str], Path], scratch: Path
    ) -> None:
        """scratch: directory for the sessions' small files."""
        self._containers = containers
        self._handlers = handlers
        self._bundle = bundle
        self._scratch = scratch
        self._shares = Shares()

    async def run_sync(self, container: ContainerRecord, spec: ExecSpec, timeout: float) -> exec_sync.SyncResult:
        """Run a command to its end; see exec_sync.run_sync. It waits for its turn first: see exec_shares."""
        async with self._shares.place(container.id, timeout) as share:
            container = self._running(container.id)
            runtime = self._handlers.get(container.handler)
            process = await self._process(container, spec)
            return await exec_sync.run_sync(
                Path(runtime.path),
                runtime.root,
                container.id,
                process,
                self._scratch,
                timeout=timeout,
                keep=share.keep,
            )

    async def open_exec(self, container_id: str, spec: ExecSpec) -> exec_session.ExecSession:
        """Start an interactive command. PRECONDITION if the container does not run."""
        container = self._running(container_id)
        runtime = self._handlers.get(container.handler)
        return await exec_session.start(
            Path(runtime.path),
            runtime.root,
            container.id,
            await self._process(container, spec),
            self._scratch,
            stdin=spec.stdin,
            stdout=spec.stdout,
            stderr=spec.stderr,
        )

    async def open_attach(
        self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> attach.Attachment:
        """Connect to the container's own streams. PRECONDITION if it does not run."""
        container = self._running(container_id)
        bundle = self._bundle(container.id)
        config = container.parse_config()
        if tty != config.tty:
            has = "a terminal" if config.tty else "no terminal"
            raise CrishimError(Kind.INVALID, f"container {container.id[:13]} has {has}", container=container.id)
        return await attach.open_attachment(
            bundle / "attach", bundle / "ctl", stdin=stdin, stdout=stdout, stderr=stderr, tty=tty
        )

    def _running(self, container_id: str) -> ContainerRecord:
        container = self._containers.find(container_id)
        if container.state is not ContainerState.RUNNING:
            raise CrishimError(
                Kind.PRECONDITION, f"container {container.id[:13]} is not running", container=container.id
            )
        return container

    async def _process(self, container: ContainerRecord, spec: ExecSpec) -> dict[str, Any]:
        config = await executors.records((self._bundle(container.id) / "config.json").read_bytes)
        return exec_process(msgspec.json.decode(config), spec.argv, tty=spec.tty)
