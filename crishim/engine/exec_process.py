"""`RUNTIME exec` as a child of ours: starting it, its exit code, and killing what it started.

The runtime stays in the foreground as the parent of the command, for only the parent learns the exit code. Facts, found
with crun 1.8.1 and runc 1.1.5 and 1.5.2:

- The pid file appears if and only if the command was executed. Without it, the runtime's log says why.
- Warnings and errors go to the log file when there is one; the error is repeated on stderr.
- crun hands its own stdio to the command. runc copies, and stays until every process that holds its pipes has ended
  (held_output.py).
- runc starts the command in a session of its own, crun leaves it in the runtime's, which is ours.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

import msgspec

from crishim.decoding import NOT_JSON
from crishim.engine import held_output
from crishim.engine.runtime import classify
from crishim.errors import CrishimError, Kind
from crishim.linux import directories, environment, executors, process_trees, processes, programs
from crishim.linux.scratch import Discarded

REAPING = 1.0  # seconds for the runtime to end after its child was killed
REPEATS = 3

_known: dict[Path, bool] = {}
_discarded = Discarded(executors.records)


async def copies_output(runtime: Path) -> bool:
    """Whether this runtime stands between the command and its output. Only crun is known not to."""
    if runtime not in _known:
        done = await programs.run([runtime, "--version"], timeout=10, check=False)
        _known[runtime] = not done.stdout.startswith(b"crun ")
    return _known[runtime]


class ExecProcess:
    """One run of the runtime's exec command. prepare(), then spawn(); close() must be called whatever they do."""

    def __init__(self, runtime: Path, container_id: str, command: str, scratch: Path, copies: bool) -> None:
        self.directory = scratch / f"x{token_hex(8)}"  # made by prepare()
        self.copies = copies
        self._runtime = runtime
        self._container_id = container_id
        self._command = command
        self._child: asyncio.subprocess.Process | None = None

    async def prepare(self, process: Mapping[str, Any]) -> None:
        """Make the directory, with what is to be executed in it."""

        def make() -> None:
            directories.make_new(self.directory)
            (self.directory / "process.json").write_bytes(msgspec.json.encode(process))

        await executors.records(make)

    async def spawn(self, root: Path, stdio: tuple[int, int, int], extra: Sequence[str] = ()) -> None:
        """Start the runtime with these descriptors as stdin, stdout and stderr. PRECONDITION if it cannot be run."""
        argv = [str(self._runtime), "--root", str(root), "--log", str(self.directory / "log"), "--log-format", "json"]
        argv += ["exec", "--process", str(self.directory / "process.json"), "--pid-file", str(self._pid_file)]
        try:
            self._child = await asyncio.create_subprocess_exec(
                *argv, *extra, self._container_id, stdin=stdio[0], stdout=stdio[1], stderr=stdio[2],
                env=environment.made(), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise CrishimError(Kind.PRECONDITION, f"cannot run {self._runtime}: {error.strerror}") from error

    async def wait(self, silent: Callable[[], bool]) -> int:
        """The command's exit code. silent: whether all its output so far has been read.

        Raises with the runtime's words if the command could not be executed.
        """
        child = self._started
        if self.copies:
            code = await held_output.wait(child, self._pid_file, silent)
            if child.returncode is None:
                await programs.end(child)  # it waits for a process that is none of this session's
        else:
            code = await child.wait()
        complaint = await executors.records(self._complaint)
        if complaint is not None:
            raise complaint
        if code < 0:
            raise CrishimError(Kind.INTERNAL, f"{self._runtime.name} exec was killed by signal {-code}")
        return code

    def wake(self, number: int) -> None:
        """Send the runtime itself a signal (SIGWINCH: look at your terminal)."""
        with contextlib.suppress(ProcessLookupError):
            self._started.send_signal(number)

    async def close(self) -> None:
        """Kill the runtime and the command with its descendants, if it still runs; remove the files."""
        child = self._child
        try:
            if child is not None and child.returncode is None:
                await self._kill(child)
        finally:
            await _discarded.discard(self.directory)

    async def _kill(self, child: asyncio.subprocess.Process) -> None:
        """Kill what the runtime started; it then reaps its child and ends by itself, unless it was half-way."""
        for _ in range(REPEATS):
            if not await executors.processes(self._kill_below, child.pid):
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REAPING):
                    await child.wait()
                    return
        await programs.end(child)

    def _kill_below(self, runtime: int) -> bool:
        """Kill all but the runtime itself; False if that is gone."""
        reference = processes.reference(runtime)
        if reference is None:
            return False
        pid = self._command_pid()
        process_trees.kill_below(reference, [runtime] if pid is None else [runtime, pid])
        return True

    @property
    def _started(self) -> asyncio.subprocess.Process:
        assert self._child is not None
        return self._child

    @property
    def _pid_file(self) -> Path:
        return self.directory / "pid"

    def _command_pid(self) -> int | None:
        """The command's pid while it is the runtime's child: then it is certainly the process we mean."""
        try:
            pid = int(self._pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if process_trees.parent(pid) == self._started.pid else None

    def _complaint(self) -> CrishimError | None:
        """Why the command was not executed, in the runtime's words; None if it was."""
        if self._pid_file.exists():
            return None
        said = ""
        with contextlib.suppress(OSError):
            for line in (self.directory / "log").read_bytes().splitlines():
                with contextlib.suppress(*NOT_JSON):
                    entry = msgspec.json.decode(line)
                    said = str(entry.get("msg", "")) if entry.get("level") in ("error", "fatal") else said
        said = programs.complaint(said.encode()) or "the runtime said nothing"
        return CrishimError(
            classify(said),
            f"cannot execute {self._command!r} in container {self._container_id[:13]}: OCI runtime exec failed: {said}",
            container=self._container_id,
            stderr=said,
        )


def sweep(scratch: Path) -> int:
    """Kill commands whose daemon died, and remove what is left in scratch; how many there were. Blocks: for a thread.

    For the start of the daemon, before anything is executed. A runtime is recognised by its arguments, which name its
    directory in scratch.
    """
    leftovers = [d for d in scratch.iterdir() if d.is_dir()] if scratch.exists() else []
    commands = process_trees.command_lines() if leftovers else {}
    for directory in leftovers:
        for pid, command in commands.items():
            if os.fsencode(directory / "process.json") in command:
                reference = processes.reference(pid)
                if reference is not None:
                    process_trees.kill_below(reference, [pid, *process_trees.children(pid)])
                    processes.send_signal(reference, signal.SIGKILL)
        shutil.rmtree(directory, ignore_errors=True)
    return len(leftovers)
