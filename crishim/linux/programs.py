"""Runs external programs: each with a timeout after which it is killed, bounded output, and an error with its stderr.

asyncio's subprocess uses vfork+exec (no atfork handlers, no copied page tables), so that gRPC's threads in this process
are never forked. The program gets its own session: a Ctrl-C at the daemon's terminal does not reach it, and the kill at
the deadline reaches its children.

A killed program may not end: it is frozen (the freezer cgroup), or in a system call that hangs. It is waited for up to
REAPING seconds; then the caller gets an error, and the program is reaped when it ends.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from crishim.errors import CrishimError, Kind
from crishim.linux import environment, executors, files

MAX_STDERR = 4096  # bytes of stderr in an error
MAX_STDOUT = 16 << 20  # bytes a program may print; no answer we read has a tenth of that
KEPT_STDERR = 64 << 10  # bytes of stderr's end
REAPING = 2.0  # seconds to wait for a killed program
_CHUNK = 64 << 10
# The signal is sent if we die after prctl(2); if we died before, the program is an orphan already and must not start.
_UNLESS_ORPHANED = '[ "$PPID" = "$0" ] && exec "$@"'

log = logging.getLogger("crishim.programs")
_surviving: set[asyncio.Task[int]] = set()  # waiting for killed programs that have not ended


class Finished(NamedTuple):
    stdout: bytes
    stderr: bytes  # its end, see KEPT_STDERR
    returncode: int  # negative: ended by that signal


def stderr_text(stderr: bytes) -> str:
    """The end of a program's stderr on one line, at most MAX_STDERR bytes, for an error text."""
    return " ".join(stderr[-MAX_STDERR:].decode(errors="replace").split())


def with_parent_death_signal(argv: Sequence[str], parent: int | None = None) -> list[str]:
    """The command with PR_SET_PDEATHSIG (setpriv(1)): killed when this process dies.

    parent: the pid it must be a child of, this process by default. A missing program is status 127.
    """
    return ["setpriv", "--pdeathsig", "KILL", "sh", "-c", _UNLESS_ORPHANED, str(parent or os.getpid()), *argv]


async def run(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    pass_fds: Sequence[int] = (),
    check: bool = True,
    started: Callable[[int], None] | None = None,
) -> Finished:
    """Run a program to its end and return what it printed.

    timeout: seconds; then the whole process group is killed and DEADLINE raised. A program that cannot be started is
    PRECONDITION. With check, a non-zero status is INTERNAL; both carry the facts program, status and stderr. One that
    prints more than MAX_STDOUT is killed: INTERNAL. Cancelling the caller kills the program. started: called with the
    pid. env: environment.minimal() if None.
    """
    name = Path(argv[0]).name
    try:
        process = await asyncio.create_subprocess_exec(
            *map(str, argv),
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment.minimal() if env is None else env,
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except OSError as error:
        raise CrishimError(
            Kind.PRECONDITION, f"cannot run {argv[0]}: {error.strerror}", program=str(argv[0])
        ) from error
    async with _bounded(process, argv, timeout):
        if started:
            started(process.pid)
        async with asyncio.TaskGroup() as group:
            out = group.create_task(_stdout(process, name))
            err = group.create_task(_stderr(process))
            if stdin:
                group.create_task(_feed(process, stdin))
        status = await process.wait()
    done = Finished(out.result(), err.result(), status)
    if check and done.returncode != 0:
        raise CrishimError(
            Kind.INTERNAL,
            f"{name} failed with status {done.returncode}: {stderr_text(done.stderr) or 'it said nothing'}",
            program=str(argv[0]),
            status=done.returncode,
            stderr=stderr_text(done.stderr),
        )
    return done


async def run_detaching(argv: Sequence[str | Path], *, log: Path, timeout: float) -> None:
    """Run a program that leaves a process behind, which keeps its output open: output goes to the file `log`.

    Returns when the program itself has ended; errors as run(), with the end of the log.
    """
    name = Path(argv[0]).name
    with await executors.records(log.open, "wb") as output:
        process = await asyncio.create_subprocess_exec(
            *map(str, argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment.minimal(),
            start_new_session=True,
        )
    async with _bounded(process, argv, timeout):
        status = await process.wait()
    if status != 0:
        said = stderr_text(await executors.records(files.tail, log, MAX_STDERR)) or "it said nothing"
        raise CrishimError(
            Kind.INTERNAL, f"{name} failed with status {status}: {said}", program=str(argv[0]), stderr=said
        )


async def end(process: asyncio.subprocess.Process) -> bool:
    """Kill a program with its process group and reap it; False if it is not gone after REAPING seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    # process.wait() also waits for the end of the pipes, which does not come while data in them is not read.
    for fd in range(3):
        if pipe := process._transport.get_pipe_transport(fd):  # type: ignore[attr-defined]
            pipe.close()
    gone = asyncio.create_task(process.wait())
    _surviving.add(gone)
    gone.add_done_callback(_surviving.discard)
    await asyncio.wait([gone], timeout=REAPING)
    if not gone.done():
        log.warning(
            "a program was killed and is not gone: frozen, or waiting for the kernel", extra={"pid": process.pid}
        )
    return gone.done()


@contextlib.asynccontextmanager
async def _bounded(
    process: asyncio.subprocess.Process, argv: Sequence[str | Path], timeout: float
) -> AsyncIterator[None]:
    """Limit work with a program to timeout seconds; the program is killed after an error."""
    try:
        async with asyncio.timeout(timeout):
            yield
    except BaseExceptionGroup as errors:
        await end(process)
        raise errors.exceptions[0] from None
    except TimeoutError:
        gone = "" if await end(process) else ", but is not gone: frozen, or waiting for the kernel"
        raise CrishimError(
            Kind.DEADLINE,
            f"{Path(argv[0]).name} did not finish within {timeout:g} s and was killed{gone}",
            program=str(argv[0]),
        ) from None
    except BaseException:
        await end(process)
        raise


async def _stdout(process: asyncio.subprocess.Process, name: str) -> bytes:
    assert process.stdout is not None
    printed = bytearray()
    while data := await process.stdout.read(_CHUNK):
        printed += data
        if len(printed) > MAX_STDOUT:
            raise CrishimError(Kind.INTERNAL, f"{name} printed more than {MAX_STDOUT >> 20} MiB and was killed")
    return bytes(printed)


async def _stderr(process: asyncio.subprocess.Process) -> bytes:
    assert process.stderr is not None
    said = bytearray()
    while data := await process.stderr.read(_CHUNK):
        said += data
        del said[:-KEPT_STDERR]
    return bytes(said)


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    """Write a program's stdin; it may close the pipe early."""
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()
