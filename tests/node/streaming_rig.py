"""Real containers under conmon, a streaming server that reaches into them, and crictl in front of it."""

import asyncio
import contextlib
import json
import os
import pty
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crishim.cri.stream.server import StreamServer
from crishim.engine import attach, conmon
from crishim.engine.exec import session
from crishim.engine.exec.child import Command
from crishim.engine.exec.limits import ExecLimits
from crishim.engine.exec.session import ExecSession
from crishim.engine.exec.sync import SyncResult
from crishim.engine.exec.sync import run as run_sync
from crishim.engine.runtime import Runtime
from crishim.linux import terminals
from crishim.linux.byte_sockets import ByteSocket
from crishim.linux.netns_connect import connect_in_netns
from crishim.linux.programs import Finished
from crishim.model import ExecSpec
from crishim.pb import cri_pb2 as cri
from tests.node.installed_runtimes import creating, runtimes, tool
from tests.node.screen import Screen
from tests.support.eventually import eventually
from tests.support.streams.fake_cri import StreamingCri

APPLETS = """
cat dd echo env false head httpd id ip kill mkdir nc ps seq setsid sh sleep stat stty test true tty wc yes
"""


@dataclass
class Container:
    id: str
    runtime: Runtime
    bundle: Path
    pid: int
    monitor: int
    tty: bool

    def process(self, *argv: str, tty: bool = False, uid: int = 0) -> dict[str, Any]:
        user = {"uid": uid, "gid": uid}
        return {"terminal": tty, "user": user, "args": [*argv], "env": ["PATH=/bin", "TERM=xterm"], "cwd": "/"}


class Rig:
    """Everything a test needs, in one scratch directory."""

    def __init__(self, runtime: str) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="stream", dir="/dev/shm"))
        self.scratch = self.base / "scratch"
        self.scratch.mkdir()
        self.executable = Path(runtime)
        self.containers: dict[str, Container] = {}
        self.clients: list[asyncio.subprocess.Process] = []
        self.sessions: list[ExecSession | attach.AttachSession] = []
        self.streams = StreamServer(creation_timeout=5)
        self.cri = StreamingCri(self.streams, self.run_sync)
        self._rootfs = self.base / "rootfs"
        for directory in ("bin", "proc", "dev", "tmp", "sys", "etc"):
            (self._rootfs / directory).mkdir(parents=True)
        shutil.copy(tool("busybox"), self._rootfs / "bin" / "busybox")
        for applet in APPLETS.split():
            (self._rootfs / "bin" / applet).symlink_to("busybox")

    async def start(self) -> None:
        await self.streams.start(self, "127.0.0.1", 0)
        await self.cri.start(str(self.base / "cri.sock"))

    async def stop(self) -> None:
        for client in self.clients:
            await kill(client)
        await self.streams.stop()
        await self.cri.stop()
        for container in self.containers.values():
            await container.runtime.delete(container.id)
            await eventually(partial(gone, container.monitor))
        shutil.rmtree(self.base)

    async def run(self, *argv: str, tty: bool = False, stdin: bool = False, stdin_once: bool = False) -> Container:
        """Start a container with a network namespace of its own, its lo up."""
        id = uuid.uuid4().hex
        bundle = self.base / ("b" * 60) / id  # longer than a socket's path may be
        bundle.mkdir(parents=True)
        process = Container(id, None, bundle, 0, 0, tty).process(*argv, tty=tty)  # type: ignore[arg-type]
        capabilities = ["CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"]
        process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), capabilities)
        (bundle / "config.json").write_text(json.dumps(config(id, process, self._rootfs)))
        runtime = Runtime("rt", creating(str(self.executable), self.base), self.base / "root", timeout=30)
        launch = conmon.Launch(id, bundle, str(bundle / "log"), tty=tty, stdin=stdin, stdin_once=stdin_once)
        launched = await conmon.create(tool("conmon"), runtime, launch)
        container = Container(id, runtime, bundle, launched.process.pid, launched.monitor.pid, tty)
        self.containers[id] = container
        await runtime.start(id)
        await self.sync(container, "ip", "link", "set", "lo", "up")
        return container

    async def sync(self, container: Container, *argv: str, **options: Any) -> SyncResult:
        return await self.sync_process(container, container.process(*argv), **options)

    async def sync_process(self, container: Container, process: dict[str, Any], **options: Any) -> SyncResult:
        async with ExecLimits().slot(container.id, 0) as slot:
            return await run_sync(self._command(container, process), slot, **options)

    def _command(self, container: Container, process: dict[str, Any]) -> Command:
        return Command(self.executable, container.runtime.root, container.id, process, self.scratch)

    async def start_exec(self, container: Container, *argv: str, tty: bool = False, **streams: bool) -> ExecSession:
        command = self._command(container, container.process(*argv, tty=tty))
        return await session.start(command, **{"stdin": True, **streams})

    # what the streaming server is given

    async def open_exec(self, container_id: str, spec: ExecSpec) -> ExecSession:
        opened = await self.start_exec(
            self.containers[container_id],
            *spec.argv,
            tty=spec.tty,
            stdin=spec.stdin,
            stdout=spec.stdout,
            stderr=spec.stderr,
        )
        self.sessions.append(opened)
        return opened

    async def open_attach(self, container_id: str, **streams: bool) -> attach.AttachSession:
        bundle = self.containers[container_id].bundle
        opened = await attach.connect(bundle / "attach", bundle / "ctl", **streams)
        self.sessions.append(opened)
        return opened

    async def open_port(self, pod_id: str, port: int) -> ByteSocket:
        return await connect_in_netns(f"/proc/{self.containers[pod_id].pid}/ns/net", port)

    async def run_sync(self, request: cri.ExecSyncRequest) -> cri.ExecSyncResponse:
        container = self.containers[request.container_id]
        result = await self.sync(container, *request.cmd, timeout=request.timeout)
        return cri.ExecSyncResponse(stdout=result.stdout, stderr=result.stderr, exit_code=result.exit_code)

    # crictl

    async def crictl(self, *argv: str, stdin: bytes | None = b"", timeout: float = 30) -> Finished:
        """Run crictl to its end. stdin None: an open pipe that nothing is written to."""
        process = await self.start_crictl(*argv)
        async with asyncio.timeout(timeout):
            out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return Finished(out, err, process.returncode)

    async def start_crictl(self, *argv: str, **stdio: Any) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        stdio = {"stdin": pipe, "stdout": pipe, "stderr": pipe, **stdio}
        process = await asyncio.create_subprocess_exec(
            tool("crictl"), "-r", self.cri.endpoint, "-i", self.cri.endpoint, "--timeout", "20s", *argv, **stdio
        )
        self.clients.append(process)
        return process

    @contextlib.asynccontextmanager
    async def terminal(self, *argv: str) -> AsyncIterator[tuple[Screen, asyncio.subprocess.Process]]:
        """crictl on a terminal of its own of 80 columns and 24 rows."""
        master, slave = pty.openpty()
        terminals.resize(master, 80, 24)
        try:
            process = await self.start_crictl(*argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        finally:
            os.close(slave)
        screen = Screen(master, process)
        try:
            yield screen, process
        finally:
            await kill(process)
            screen.close()

    # what is left

    def processes(self, container: Container) -> set[str]:
        """Command lines in the container, without its first process."""
        return set(self._commands(container).values())

    def pid(self, container: Container, command: str) -> int:
        return next(pid for pid, line in self._commands(container).items() if line == command)

    def _commands(self, container: Container) -> dict[int, str]:
        found = {}
        namespace = os.stat(f"/proc/{container.pid}/ns/pid").st_ino
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                zombie = (path / "stat").read_bytes().rpartition(b") ")[2][:1] in b"ZX"
                same = (path / "ns/pid").stat().st_ino == namespace
                if same and not zombie and path.name != str(container.pid):
                    found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        return found

    def descriptors(self) -> int:
        return len(os.listdir("/proc/self/fd"))

    async def settled(self, container: Container, *expected: str, seconds: float = 10) -> None:
        """Wait until only these command lines run in the container and no session's files are left."""
        await eventually(
            lambda: self.processes(container) == set(expected) and not any(self.scratch.iterdir()), seconds
        )


async def kill(process: asyncio.subprocess.Process) -> None:
    """Kill a client and drop our ends of its pipes, read or not."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process._transport.close()  # type: ignore[attr-defined]
    await process.wait()


def gone(pid: int) -> bool:
    """A zombie is gone: the one who should reap it may be slow."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] in b"ZX"
    except OSError:
        return True


def config(id: str, process: dict[str, Any], rootfs: Path) -> dict[str, Any]:
    """A small config.json."""
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
    ]
    namespaces = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")]
    return {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": str(rootfs), "readonly": True},
        "mounts": mounts,
        "linux": {"namespaces": namespaces, "cgroupsPath": f"/crishim-test-{id}"},
    }


async def made(runtime: str) -> AsyncIterator[Rig]:
    rig = Rig(runtime)
    try:
        await rig.start()
        yield rig
    finally:
        await rig.stop()


def name(runtime: str) -> str:
    return runtime.strip("/").replace("/", "-")


@pytest.fixture(params=runtimes(), ids=name)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """A rig for each runtime; afterwards no container, no process and no file of it is left."""
    async for rig in made(request.param):
        yield rig


@pytest.fixture(params=[tool("crun"), tool("runc")], ids=name)
async def stream_rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """A rig for one runtime of each kind: enough for what goes through the streaming server."""
    async for rig in made(request.param):
        yield rig
