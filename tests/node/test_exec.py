"""crishim/engine/exec/ with the real runtimes."""

import asyncio
import os
from pathlib import Path

import pytest

from crishim.engine.exec import strategy
from crishim.engine.exec.orphans import kill_orphans
from crishim.engine.exec.runc import RuncExec
from crishim.engine.exec.session import ExecSession
from crishim.engine.exec.sync import OUTPUT_LIMIT
from crishim.errors import CrishimError, Kind
from tests.node.streaming_rig import Rig
from tests.node.streaming_rig import rig as rig
from tests.support.eventually import eventually

pytestmark = pytest.mark.node

IDLE = ("sh", "-c", "while :; do sleep 1000; done")
INIT = {"sleep 1000"}


async def read_all(read: object) -> bytes:
    data = b""
    while part := await read():  # type: ignore[operator]
        data += part
    return data


async def test_sync_separates_outputs_and_reports_the_exit_code(rig: Rig) -> None:
    """stdout, stderr and a non-zero code of one command; a signal counts 128 more."""
    container = await rig.run(*IDLE)
    assert await rig.sync(container, "sh", "-c", "echo out; echo err >&2; exit 3") == (b"out\n", b"err\n", 3)
    assert await rig.sync(container, "sh", "-c", "kill -9 $$") == (b"", b"", 137)
    await rig.settled(container, *INIT)


async def test_sync_of_a_command_that_is_not_there(rig: Rig) -> None:
    """An error in the runtime's words, not an exit code; a command's own 127 and 255 stay exit codes."""
    container = await rig.run(*IDLE)
    with pytest.raises(CrishimError, match=r"OCI runtime exec failed: .*nonesuch.* not found in \$PATH") as caught:
        await rig.sync(container, "nonesuch")
    assert caught.value.kind is Kind.INVALID
    assert (await rig.sync(container, "sh", "-c", "exit 127")).exit_code == 127
    assert (await rig.sync(container, "sh", "-c", "exit 255")).exit_code == 255
    with pytest.raises(CrishimError):
        await rig.sync(container, "/etc")
    await rig.settled(container, *INIT)


@pytest.mark.fact("ExecSync")
async def test_sync_timeout_kills_the_command_and_its_children(rig: Rig) -> None:
    """DEADLINE, and nothing of it runs on, not even children that wait in the background or changed their session."""
    container = await rig.run(*IDLE)
    with pytest.raises(CrishimError) as caught:
        await rig.sync(container, "sh", "-c", "sleep 501 & setsid sleep 502 & sleep 503", timeout=0.7)
    assert caught.value.kind is Kind.DEADLINE
    assert rig.processes(container) == INIT
    await rig.settled(container, *INIT)


async def test_sync_that_is_cancelled_kills_the_command(rig: Rig) -> None:
    """A client that stops waiting takes its command with it."""
    container = await rig.run(*IDLE)
    task = asyncio.create_task(rig.sync(container, "sleep", "504"))
    await eventually(lambda: "sleep 504" in rig.processes(container))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await rig.settled(container, *INIT)


async def test_sync_does_not_wait_for_a_background_process(rig: Rig) -> None:
    """A process left behind holds stdout open: the answer comes all the same, complete, with the code; it lives on.

    Only where the runtime copies and the kernel cannot tell the code, it is an error, after a while.
    """
    container = await rig.run(*IDLE)
    answer = rig.sync(container, "sh", "-c", "sleep 505 & head -c 100000 /dev/zero; exit 4")
    release = tuple(int(n) for n in os.uname().release.split("-")[0].split(".")[:2])
    async with asyncio.timeout(30):
        if release < (6, 15) and isinstance(await strategy.choose(rig.executable), RuncExec):
            with pytest.raises(CrishimError, match="not known"):
                await answer
        else:
            out, err, code = await answer
            assert (len(out), err, code) == (100_000, b"", 4)
    await rig.settled(container, *INIT, "sleep 505")


async def test_sync_output_is_capped_and_read_to_its_end(rig: Rig) -> None:
    """Both outputs together stay under the limit, the command is not blocked and its code is right."""
    container = await rig.run(*IDLE)
    script = "head -c 12000000 /dev/zero; head -c 12000000 /dev/zero >&2; exit 6"
    out, err, code = await rig.sync(container, "sh", "-c", script)
    assert (len(out), len(out) + len(err), code) == (12_000_000, OUTPUT_LIMIT, 6)


async def test_stdin_reaches_its_end(rig: Rig) -> None:
    """What is written arrives, and closing stdin ends a command that reads to the end."""
    container = await rig.run(*IDLE)
    session = await rig.start_exec(container, "wc", "-c")
    await session.write_stdin(bytes(200_000))
    await session.close_stdin()
    assert await session.wait() == 0
    assert await read_all(session.read_stdout) == b"200000\n"
    await session.close()
    await rig.settled(container, *INIT)


async def test_a_terminal_has_a_size_and_a_line_discipline(rig: Rig) -> None:
    """The size arrives, and arrives again when it changes; Ctrl-C interrupts the command."""
    container = await rig.run(*IDLE)
    script = "trap 'echo interrupted; exit 9' INT; while read x; do stty size; test $x && sleep 506; done"
    session = await rig.start_exec(container, "sh", "-c", script, tty=True)
    for width, height in ((101, 31), (77, 22)):
        await session.resize(width, height)
        await until_size(session, f"{height} {width}")
    await session.write_stdin(b"sleep\n")
    await eventually(lambda: "sleep 506" in rig.processes(container))
    await session.write_stdin(b"\x03")
    assert await session.wait() == 9
    assert b"interrupted" in await read_all(session.read_stdout)
    await session.close()
    await rig.settled(container, *INIT)


async def until_size(session: ExecSession, size: str) -> None:
    """Ask until the answer is right: the runtime sets the size when the command has begun already."""
    for _ in range(100):
        await session.write_stdin(b"\n")
        answer = await until(session.read_stdout, b"\r\n")
        while not answer.strip():
            answer = await until(session.read_stdout, b"\r\n")
        if size.encode() in answer:
            return
    raise AssertionError(f"the size did not become {size}")


async def until(read: object, text: bytes) -> bytes:
    seen = b""
    async with asyncio.timeout(10):
        while text not in seen:
            seen += await read()  # type: ignore[operator]
    return seen


@pytest.mark.parametrize("tty", [False, True])
async def test_closing_a_session_kills_what_it_started(rig: Rig, tty: bool) -> None:
    """A session that is closed early leaves no process, file or descriptor, with and without a terminal."""
    container = await rig.run(*IDLE)
    before = rig.descriptors()
    session = await rig.start_exec(container, "sh", "-c", "sleep 507 & echo up; cat", tty=tty)
    assert b"up" in await until(session.read_stdout, b"up")
    await session.close()
    assert rig.processes(container) == INIT
    await rig.settled(container, *INIT)
    assert rig.descriptors() == before


async def test_closing_a_session_that_has_hardly_begun(rig: Rig) -> None:
    """Closing while the runtime still prepares the command leaves nothing either."""
    container = await rig.run(*IDLE)
    for delay in (0, 0.005, 0.01, 0.02):
        session = await rig.start_exec(container, "sleep", "508")
        await asyncio.sleep(delay)
        await session.close()
        await rig.settled(container, *INIT)  # what was killed may take a moment to be gone


async def test_the_pipe_is_the_only_buffer(rig: Rig) -> None:
    """A command whose output nobody reads stands still after what the kernel's pipes hold."""
    container = await rig.run(*IDLE)
    session = await rig.start_exec(container, "yes")
    await eventually(lambda: "yes" in rig.processes(container))
    written = -1
    while (now := written_by(rig.pid(container, "yes"))) != written:
        written = now
        await asyncio.sleep(0.3)
    assert 0 < written < 1_000_000
    await session.close()


def written_by(pid: int) -> int:
    return int(dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())["wchar"])


async def test_a_user_without_rights_can_write_to_its_own_stdout(rig: Rig) -> None:
    """/dev/stdout can be opened by the user the command runs as."""
    container = await rig.run(*IDLE)
    process = container.process("sh", "-c", "echo mine > /proc/self/fd/1", uid=1234)
    assert await rig.sync_process(container, process) == (b"mine\n", b"", 0)


async def test_commands_of_a_daemon_that_died_are_killed(rig: Rig) -> None:
    """At the next start what was executed is killed, and the files are gone."""
    container = await rig.run(*IDLE)
    sessions = [await rig.start_exec(container, "sleep", "509", tty=tty) for tty in (False, True)]
    await eventually(lambda: "sleep 509" in rig.processes(container))
    for session in sessions:
        await until_executed(session)
    assert await asyncio.to_thread(kill_orphans, rig.scratch) == 2
    await rig.settled(container, *INIT)
    for session in sessions:
        await session.close()


async def until_executed(session: ExecSession) -> None:
    await eventually(session._child.pid_file.exists)
