"""`RUNTIME exec` as a child process: start it, get its exit code, kill what it started.

The runtime stays in the foreground as the parent of the command, as only the parent gets the exit code. Observed with
crun 1.8.1 and runc 1.1.5 and 1.5.2:

- The pid file exists if and only if the command was executed. Without it, the runtime's log has the reason.
- Warnings and errors are written to the log file if there is one; the error also to stderr.
- runc starts the command in a session of its own (setsid(2)), crun in the runtime's, which we make.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

import msgspec

from crishim.decoding import NOT_JSON
from crishim.engine.runtime import classify
from crishim.errors import CrishimError, Kind
from crishim.linux import async_files, directories, environment, executors, process_trees, processes, programs
from crishim.linux.scratch import Discarded

EXIT_TIMEOUT = 1.0  # seconds for the runtime to exit after its child was killed
KILL_ATTEMPTS = 3

_discarded = Discarded(executors.records)


class Command(msgspec.Struct, frozen=True):
    """A command to execute in a running container."""

    runtime: Path  # crun or runc
    root: Path  # its --root
    container_id: str
    process: Mapping[str, Any]  # an OCI runtime-spec process object; `terminal` for a tty
    scratch: Path  # an existing directory for temporary files of the session


class ExecChild:
    """One run of the runtime's exec command. Call prepare(), then spawn(); and always close(), also after an error."""

    def __init__(self, command: Command) -> None:
        self.directory = command.scratch / f"x{token_hex(8)}"  # made by prepare()
        self.pid_file = self.directory / "pid"
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The runtime's pid, once spawned."""
        return self._spawned.pid

    async def prepare(self) -> None:
        """Make the directory, with process.json in it."""
        await executors.records(directories.make_new, self.directory)
        await async_files.write(self.directory / "process.json", msgspec.json.encode(self._command.process))

    async def spawn(self, stdio: tuple[int, int, int], *options: str) -> None:
        """Start the runtime with these descriptors as stdio. Raises PRECONDITION if it cannot be run."""
        runtime, root = self._command.runtime, self._command.root
        argv = [str(runtime), "--root", str(root), "--log", str(self.directory / "log"), "--log-format", "json"]
        argv += ["exec", "--process", str(self.directory / "process.json"), "--pid-file", str(self.pid_file)]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *argv, *options, self._command.container_id, stdin=stdio[0], stdout=stdio[1], stderr=stdio[2],
                env=environment.minimal(), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise CrishimError(Kind.PRECONDITION, f"cannot run {runtime}: {error.strerror}") from error

    async def wait(self) -> int:
        """Wait for the runtime's exit status; negative: killed by that signal."""
        return await self._spawned.wait()

    async def exit_code(self, status: int) -> int:
        """The command's exit code, from the runtime's status or the kernel's.

        Raises an error with the runtime's message if the command could not be executed.
        """
        failure = await executors.records(self._failure)
        if failure is not None:
            raise failure
        if status < 0:
            raise CrishimError(Kind.INTERNAL, f"{self._command.runtime.name} exec was killed by signal {-status}")
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal to the runtime."""
        with contextlib.suppress(ProcessLookupError):
            self._spawned.send_signal(number)

    async def kill_runtime(self) -> None:
        """Kill the runtime if it still runs; the command has exited."""
        if self._spawned.returncode is None:
            await programs.end(self._spawned)

    async def close(self) -> None:
        """Kill the runtime and the command with its descendants, if they still run; remove the files."""
        process = self._process
        try:
            if process is not None and process.returncode is None:
                await self._kill(process)
        finally:
            await _discarded.discard(self.directory)

    async def _kill(self, process: asyncio.subprocess.Process) -> None:
        """Kill what the runtime started; it then reaps its child and exits, unless it was still starting it."""
        for _ in range(KILL_ATTEMPTS):
            if not await executors.processes(self._kill_below, process.pid):
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EXIT_TIMEOUT):
                    await process.wait()
                    return
        await programs.end(process)

    def _kill_below(self, runtime: int) -> bool:
        """Kill the runtime's descendants; False if the runtime is gone."""
        reference = processes.reference(runtime)
        if reference is None:
            return False
        pid = self._command_pid(runtime)
        process_trees.kill_below(reference, [runtime] if pid is None else [runtime, pid])
        return True

    @property
    def _spawned(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    def _command_pid(self, runtime: int) -> int | None:
        """The command's pid if it is a child of the runtime, so that it cannot be a reused pid."""
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if process_trees.parent(pid) == runtime else None

    def _failure(self) -> CrishimError | None:
        """The error with the runtime's message if the command was not executed; None if it was."""
        if self.pid_file.exists():
            return None
        message = programs.stderr_text(self._last_error().encode()) or "the runtime said nothing"
        id, argv = self._command.container_id, self._command.process["args"]
        return CrishimError(
            classify(message),
            f"cannot execute {argv[0]!r} in container {id[:13]}: OCI runtime exec failed: {message}",
            container=id,
            stderr=message,
        )

    def _last_error(self) -> str:
        """The last error in the runtime's log, one JSON object a line; "" if there is none."""
        message = ""
        with contextlib.suppress(OSError):
            for line in (self.directory / "log").read_bytes().splitlines():
                with contextlib.suppress(*NOT_JSON):
                    entry = msgspec.json.decode(line)
                    message = str(entry.get("msg", "")) if entry.get("level") in ("error", "fatal") else message
        return message
