"""Running external programs: every one has a timeout, a kill, and an error that carries what it said.

asyncio's subprocess uses vfork+exec (no atfork handlers, no copied page tables), so that gRPC's threads in this process
are never forked. The program gets its own session: a Ctrl-C at the daemon's terminal does not reach it, and the kill at
the deadline reaches its children.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from crishim.errors import CrishimError, Kind
from crishim.wire.linux import environment, executors

MAX_STDERR = 4096  # bytes of a program's complaint that an error carries
# The signal is sent for a death after prctl(2); for one before it, the program is an orphan already and must not start.
_UNLESS_ORPHANED = '[ "$PPID" = "$0" ] && exec "$@"'


class Finished(NamedTuple):
    stdout: bytes
    stderr: bytes
    returncode: int  # negative: ended by that signal


def complaint(stderr: bytes) -> str:
    """What a program said on stderr, on one line and bounded, for an error text."""
    return " ".join(stderr[-MAX_STDERR:].decode(errors="replace").split())


def dying_with_us(argv: Sequence[str], parent: int | None = None) -> list[str]:
    """A command that is killed when this process dies, by whatever means (PR_SET_PDEATHSIG through setpriv(1)).

    parent: the pid it must be a child of, this process by default. A program that is not there is status 127.
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
    PRECONDITION. With check, a non-zero status is INTERNAL; both carry the facts program, status and stderr.
    Cancelling the caller kills the program. started: is told the pid. env: without one it gets environment.made().
    """
    name = Path(argv[0]).name
    try:
        process = await asyncio.create_subprocess_exec(
            *map(str, argv),
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment.made() if env is None else env,
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except OSError as error:
        raise CrishimError(
            Kind.PRECONDITION, f"cannot run {argv[0]}: {error.strerror}", program=str(argv[0])
        ) from error
    try:
        if started:
            started(process.pid)
        async with asyncio.timeout(timeout):
            out, err = await process.communicate(stdin or None)
    except TimeoutError:
        await end(process)
        raise CrishimError(
            Kind.DEADLINE, f"{name} did not finish within {timeout:g} s and was killed", program=str(argv[0])
        ) from None
    except BaseException:
        await end(process)
        raise
    assert process.returncode is not None
    done = Finished(out, err, process.returncode)
    if check and done.returncode != 0:
        raise CrishimError(
            Kind.INTERNAL,
            f"{name} failed with status {done.returncode}: {complaint(err) or 'it said nothing'}",
            program=str(argv[0]),
            status=done.returncode,
            stderr=complaint(err),
        )
    return done


async def run_detaching(argv: Sequence[str | Path], *, log: Path, timeout: float) -> None:
    """Run a program that leaves a process behind, which keeps its output open: it goes to the file `log` instead.

    Returns when the program itself has ended; errors as run(), with what the log holds.
    """
    with await executors.records(log.open, "wb") as output:
        process = await asyncio.create_subprocess_exec(
            *map(str, argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment.made(),
            start_new_session=True,
        )
    name = Path(argv[0]).name
    try:
        async with asyncio.timeout(timeout):
            status = await process.wait()
    except TimeoutError:
        await end(process)
        raise CrishimError(
            Kind.DEADLINE, f"{name} did not finish within {timeout:g} s and was killed", program=str(argv[0])
        ) from None
    except BaseException:
        await end(process)
        raise
    if status != 0:
        said = complaint(await executors.records(log.read_bytes)) or "it said nothing"
        raise CrishimError(
            Kind.INTERNAL, f"{name} failed with status {status}: {said}", program=str(argv[0]), stderr=said
        )


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill a program with its process group and reap it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
