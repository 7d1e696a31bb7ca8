"""The streaming server with real clients: crictl over SPDY and WebSocket, to commands in real containers."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.node.screen import Screen
from tests.node.streaming_rig import Rig, kill
from tests.node.streaming_rig import stream_rig as stream_rig
from tests.support.eventually import eventually

pytestmark = pytest.mark.node

IDLE = ("sh", "-c", "while :; do sleep 1000; done")
INIT = {"sleep 1000"}
FIRST_SIZE = "24 80"

transports = pytest.mark.parametrize("transport", ["spdy", "websocket"])


@transports
async def test_exec_streams_and_exit_code(stream_rig: Rig, transport: str) -> None:
    """stdin to its end, stdout, stderr and the exit code pass through crictl exec -i."""
    container = await stream_rig.run(*IDLE)
    script = "wc -c; echo problem >&2; exit 7"
    done = await stream_rig.crictl(
        "exec", "-r", transport, "-i", container.id, "sh", "-c", script, stdin=bytes(300_000)
    )
    assert done.stdout == b"300000\n"
    assert b"problem" in done.stderr
    assert b"exit code 7" in done.stderr or b"exit status 7" in done.stderr
    assert done.returncode != 0
    await stream_rig.settled(container, *INIT)


@transports
async def test_exec_success_is_silent(stream_rig: Rig, transport: str) -> None:
    """A zero exit is crictl's zero, and every byte of a large output arrives."""
    container = await stream_rig.run(*IDLE)
    done = await stream_rig.crictl("exec", "-r", transport, container.id, "head", "-c", "3000000", "/dev/zero")
    assert (len(done.stdout), done.returncode) == (3_000_000, 0), done.stderr
    await stream_rig.settled(container, *INIT)


@transports
async def test_exec_of_a_command_that_is_not_there(stream_rig: Rig, transport: str) -> None:
    """The runtime's words reach the user."""
    container = await stream_rig.run(*IDLE)
    done = await stream_rig.crictl("exec", "-r", transport, container.id, "nonesuch")
    assert done.returncode != 0
    assert b"not found in $PATH" in done.stderr
    await stream_rig.settled(container, *INIT)


@transports
async def test_terminal(stream_rig: Rig, transport: str) -> None:
    """crictl exec -it: the terminal's size at the start and when it changes, Ctrl-C, and the exit code."""
    container = await stream_rig.run(*IDLE)
    async with stream_rig.terminal("exec", "-r", transport, "-it", container.id, "sh") as (screen, process):
        await screen.expect("#")
        await until_size(screen, FIRST_SIZE)  # now crictl hears SIGWINCH
        screen.resize(121, 37)
        await until_size(screen, "37 121")
        screen.resize(66, 22)
        await until_size(screen, "22 66")
        screen.type("sleep 901; echo over $?\n")
        await eventually(lambda: "sleep 901" in stream_rig.processes(container))
        screen.type("\x03")
        await eventually(lambda: "sleep 901" not in stream_rig.processes(container))
        await screen.expect("#")
        screen.type("exit 5\n")
        await screen.expect("5")
        assert await process.wait() != 0
    await stream_rig.settled(container, *INIT)


async def until_size(screen: Screen, size: str) -> None:
    """Ask for the size until it is right: it arrives beside the bytes, not among them."""
    for _ in range(200):
        screen.type("stty size; echo en''d\n")
        if size in await screen.expect("end\r\n"):
            return
    raise AssertionError(f"the size did not become {size}")


@transports
async def test_a_client_that_is_killed_takes_its_command_along(stream_rig: Rig, transport: str) -> None:
    """kill -9 of crictl ends the command and its children, and every descriptor comes back."""
    container = await stream_rig.run(*IDLE)
    before = stream_rig.descriptors()
    for script in ("sleep 902 & sleep 903", "yes"):
        process = await stream_rig.start_crictl("exec", "-r", transport, "-i", container.id, "sh", "-c", script)
        await eventually(lambda: stream_rig.processes(container) > INIT)
        await asyncio.sleep(0.3)
        await kill(process)
        await stream_rig.settled(container, *INIT)
    await eventually(lambda: stream_rig.descriptors() <= before)


@transports
async def test_a_stalled_stdin_does_not_hide_a_killed_client(stream_rig: Rig, transport: str) -> None:
    """A command that never reads its stdin stops the client's writing; the client's death is noticed all the same."""
    container = await stream_rig.run(*IDLE)
    zeros = os.open("/dev/zero", os.O_RDONLY)
    process = await stream_rig.start_crictl("exec", "-r", transport, "-i", container.id, "sleep", "904", stdin=zeros)
    os.close(zeros)
    await eventually(lambda: "sleep 904" in stream_rig.processes(container))
    await asyncio.sleep(1)
    assert resident() < 250_000_000
    await kill(process)
    await stream_rig.settled(container, *INIT, seconds=20)  # seen at the next sign of life


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@transports
async def test_a_reader_that_stops_does_not_grow_memory(stream_rig: Rig, transport: str) -> None:
    """A client that does not read stops the command; nothing piles up here, and it goes on where it stopped."""
    container = await stream_rig.run(*IDLE)
    receive, send = os.pipe()
    command = "head -c 200000000 /dev/zero"
    process = await stream_rig.start_crictl("exec", "-r", transport, container.id, *command.split(), stdout=send)
    os.close(send)
    await eventually(lambda: command in stream_rig.processes(container))
    before, written = resident(), -1
    while (now := progress(stream_rig.pid(container, command))) != written:
        written = now
        await asyncio.sleep(0.5)
    assert written < 60_000_000  # the kernel's and crictl's own buffers
    assert resident() - before < 20_000_000
    total = await asyncio.to_thread(drain, receive)
    assert total == 200_000_000
    assert await process.wait() == 0
    await stream_rig.settled(container, *INIT)


def progress(pid: int) -> int:
    return int(dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())["wchar"])


def drain(fd: int) -> int:
    total = 0
    while data := os.read(fd, 1 << 20):
        total += len(data)
    os.close(fd)
    return total


@transports
async def test_attach_sees_and_feeds_the_container(stream_rig: Rig, transport: str) -> None:
    """crictl attach -i: lines in, lines out on both streams, until the container ends; its path is a long one."""
    container = await stream_rig.run(
        "sh", "-c", "while read line; do echo out $line; echo err $line >&2; done; echo ended; sleep 2", stdin=True
    )
    process = await stream_rig.start_crictl("attach", "-r", transport, "-i", container.id)
    assert process.stdin
    assert process.stdout
    assert process.stderr
    await eventually(lambda: len(stream_rig.sessions) == 1)
    process.stdin.write(b"one\ntwo\n")
    for word in (b"one", b"two"):
        async with asyncio.timeout(10):
            assert await process.stdout.readline() == b"out " + word + b"\n"
            while await process.stderr.readline() != b"err " + word + b"\n":
                pass
    await kill(process)
    await asyncio.sleep(0.2)
    again = await stream_rig.start_crictl("attach", "-r", transport, "-i", container.id)
    assert again.stdin
    assert again.stdout
    await eventually(lambda: len(stream_rig.sessions) == 2)
    again.stdin.write(b"three\n")
    async with asyncio.timeout(10):
        assert await again.stdout.readline() == b"out three\n"
    await kill(again)


@transports
async def test_attach_ends_with_the_container(stream_rig: Rig, transport: str) -> None:
    """With stdin_once, the end of the first client's input is the container's; attach then ends by itself."""
    container = await stream_rig.run("sh", "-c", "wc -c", stdin=True, stdin_once=True)
    done = await stream_rig.crictl("attach", "-r", transport, "-i", container.id, stdin=bytes(100_000))
    assert (done.stdout, done.returncode) == (b"100000\n", 0), done.stderr


@transports
async def test_attach_to_a_terminal(stream_rig: Rig, transport: str) -> None:
    """crictl attach -it: echo, size, and Ctrl-C for what the container's shell runs."""
    container = await stream_rig.run("sh", tty=True, stdin=True)
    async with stream_rig.terminal("attach", "-r", transport, "-it", container.id) as (screen, _):
        await eventually(lambda: len(stream_rig.sessions) == 1)
        await until_size(screen, FIRST_SIZE)
        screen.resize(131, 41)
        await until_size(screen, "41 131")
        screen.type("sleep 905\n")
        await eventually(lambda: "sleep 905" in stream_rig.processes(container))
        screen.type("\x03")
        await eventually(lambda: "sleep 905" not in stream_rig.processes(container))


@transports
async def test_port_forward(stream_rig: Rig, transport: str) -> None:
    """Many connections through one crictl port-forward, each with its own bytes, both families, then a clean end."""
    container = await stream_rig.run(
        "sh", "-c", "httpd -f -p 127.0.0.1:8080 -h /bin & httpd -f -p '[::1]:8081' -h /bin"
    )
    before = stream_rig.descriptors()
    process = await stream_rig.start_crictl("port-forward", "-r", transport, container.id, ":8080", ":8081")
    assert process.stdout
    ports: list[int] = []
    async with asyncio.timeout(10):
        while len(ports) < 2:
            line = (await process.stdout.readline()).decode()
            if "127.0.0.1:" in line:
                ports.append(int(line.split("127.0.0.1:")[1].split()[0]))
    size = os.stat(f"{stream_rig.base}/rootfs/bin/busybox").st_size
    bodies = await asyncio.gather(*(fetch(port) for port in ports * 10))
    assert [len(b) for b in bodies] == [size] * 20
    await kill(process)
    await eventually(lambda: stream_rig.descriptors() <= before)


async def fetch(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /busybox HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2]


@transports
async def test_port_forward_to_a_port_nobody_listens_on(stream_rig: Rig, transport: str) -> None:
    """The client is told why."""
    container = await stream_rig.run(*IDLE)
    process = await stream_rig.start_crictl("port-forward", "-r", transport, container.id, ":8080")
    assert process.stdout
    assert process.stderr
    async with asyncio.timeout(10):
        line = (await process.stdout.readline()).decode()
        port = int(line.split("127.0.0.1:")[1].split()[0])
        assert await fetch(port) == b""
        told = await process.stderr.read()
    assert b"Connection refused" in told or b"cannot connect" in told
    await process.wait()
