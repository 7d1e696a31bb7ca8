"""What can hang: programs that stop or are frozen, a volume, a registry, a disk. Each: how, and how it ends."""

import contextlib
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

import grpc

from crishim.linux import cgroups, mounts
from crishim.pb import cri_pb2 as cri
from hack.campaigns.load import Pod
from tests.support.daemon import Daemon, eventually
from tests.support.pods import container_config, create, pod_config, run_pod, start

PLUGINS = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
HUNG = "hung"  # in the name of what is to hang


class Cause:
    """One thing that hangs."""

    title = ""
    kind: type[Daemon] = Daemon

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pod = ""
        self.wish = pod_config(HUNG)

    def settings(self) -> dict[str, Any]:
        return {}

    def prepare(self, daemon: Daemon) -> None:
        """What has to be there before."""

    def hang(self, daemon: Daemon) -> None:
        """The call that comes to hang; it may end with an error."""
        raise NotImplementedError

    def wait_hung(self, daemon: Daemon) -> None:
        """Return when it hangs."""
        eventually(lambda: self.pids(), f"{self.title} hangs")

    def release(self) -> None:
        """The cause goes away; may be repeated."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def remove(self, daemon: Daemon) -> None:
        """The pod that hung goes, or the next try of what hung works."""
        for pod in daemon.call("ListPodSandbox").items:
            daemon.call("StopPodSandbox", pod_sandbox_id=pod.id, deadline=60)
            daemon.call("RemovePodSandbox", pod_sandbox_id=pod.id, deadline=60)

    def others(self, pod: Pod) -> None:
        """What another pod does meanwhile."""
        pod.run()
        pod.start()
        assert not (what := pod.check()), what

    def pids(self) -> list[int]:
        """The programs that hang, as they told."""
        path = self.directory / "pids"
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def program(self, path: Path, real: str, when: str, how: str = "kill -STOP $$") -> str:
        """A program that hangs when the shell condition holds, and else is the real one."""
        text = f'#!/bin/sh\nif {when}; then echo $$ >> {self.directory}/pids; {how}; fi\nexec {real} "$@"\n'
        path.write_text(text)
        path.chmod(0o755)
        return str(path)


class StoppedPlugin(Cause):
    title = "CNI plugin, stopped"
    how = "kill -STOP $$"

    def prepare(self, daemon: Daemon) -> None:
        real = next(f"{d}/bridge" for d in PLUGINS if Path(d, "bridge").exists())
        when = f'test "$CNI_COMMAND" = ADD && echo "$CNI_ARGS" | grep -q "K8S_POD_NAME={HUNG}"'
        self.program(daemon.plugins / "bridge", real, when, self.how)

    def hang(self, daemon: Daemon) -> None:
        self.pod = run_pod(daemon, self.wish)


class FrozenPlugin(StoppedPlugin):
    """Frozen, it takes no SIGKILL (cgroups(7), freezer)."""

    title = "CNI plugin, frozen"

    @property
    def freezer(self) -> Path:
        found = cgroups.hierarchies()
        return found.get("freezer", found.get("unified", cgroups.ROOT)) / self.directory.name

    @property
    def how(self) -> str:  # type: ignore[override]
        old = (self.freezer / "freezer.state").exists()
        state, word = ("freezer.state", "FROZEN") if old else ("cgroup.freeze", "1")
        return f"echo $$ > {self.freezer}/cgroup.procs; echo {word} > {self.freezer}/{state}; sleep 0.1"

    def prepare(self, daemon: Daemon) -> None:
        self.freezer.mkdir()
        super().prepare(daemon)

    def release(self) -> None:
        if not self.freezer.exists():
            return
        old = (self.freezer / "freezer.state").exists()
        (self.freezer / ("freezer.state" if old else "cgroup.freeze")).write_text("THAWED" if old else "0")
        super().release()

        def gone() -> bool:
            with contextlib.suppress(OSError):
                self.freezer.rmdir()
            return not self.freezer.exists()

        eventually(gone, "the frozen plugin's cgroup goes")


class StoppedRuntime(Cause):
    title = "OCI runtime, stopped"

    def settings(self) -> dict[str, Any]:
        real = shutil.which("crun")
        assert real
        path = self.program(self.directory / "slow-crun", real, 'echo " $* " | grep -q " create "')
        handlers = {"crun": {"path": real}, HUNG: {"path": path}}
        return {"runtimes": {"timeout": 8, "handlers": handlers}}

    def hang(self, daemon: Daemon) -> None:
        self.pod = run_pod(daemon, self.wish, HUNG)
        start(daemon, self.pod)


class StoppedConmon(Cause):
    """The monitor of a running container: its container ends, and nobody says so."""

    title = "conmon, stopped"

    def prepare(self, daemon: Daemon) -> None:
        pod = run_pod(daemon, self.wish)
        self.container = start(daemon, pod)
        (monitor,) = daemon.run.rglob("conmon.pid")
        pid = int(monitor.read_text())
        os.kill(pid, signal.SIGSTOP)
        (self.directory / "pids").write_text(str(pid))

    def hang(self, daemon: Daemon) -> None:
        daemon.call("StopContainer", container_id=self.container, timeout=1, deadline=80)

    def release(self) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class StoppedSkopeo(Cause):
    title = "skopeo, stopped"

    def settings(self) -> dict[str, Any]:
        real = shutil.which("skopeo")
        assert real
        when = f'echo " $* " | grep -q "/{HUNG}:"'
        return {"images": {"skopeo": self.program(self.directory / "slow-skopeo", real, when)}}

    def hang(self, daemon: Daemon) -> None:
        daemon.call("PullImage", image=cri.ImageSpec(image=f"127.0.0.1:1/{HUNG}:1"), deadline=60)

    def remove(self, daemon: Daemon) -> None:
        super().remove(daemon)
        assert not list((daemon.state / "downloads").iterdir())


class StalledRegistry(Cause):
    title = "registry that says nothing"

    def settings(self) -> dict[str, Any]:
        self.server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self.server.getsockname()[1]}"
        return {}

    def hang(self, daemon: Daemon) -> None:
        daemon.call("PullImage", image=cri.ImageSpec(image=f"{self.address}/{HUNG}:1"), deadline=80)

    def wait_hung(self, daemon: Daemon) -> None:
        self.server.settimeout(20)
        self.client, _ = self.server.accept()

    def release(self) -> None:
        for each in (getattr(self, "client", None), self.server):
            if each is not None:
                each.close()

    def remove(self, daemon: Daemon) -> None:
        super().remove(daemon)
        assert not list((daemon.state / "downloads").iterdir())


class SilentVolume(Cause):
    """A FUSE file system whose server reads no request."""

    title = "FUSE volume that never answers"
    fd = -1

    def prepare(self, daemon: Daemon) -> None:
        self.point = self.directory / "volume"
        self.point.mkdir()
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0"
        mounts.mount("fuse", "silent", self.point, data=options)
        self.pod = run_pod(daemon, self.wish)

    def hang(self, daemon: Daemon) -> None:
        config = container_config()
        config.mounts.add(host_path=str(self.point / "data"), container_path="/data")
        create(daemon, self.pod, config)

    def wait_hung(self, daemon: Daemon) -> None:
        waiting = Path("/sys/fs/fuse/connections")
        assert self.fd >= 0, waiting

    def release(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)  # the connection ends, and what waits gets ENOTCONN
            self.fd = -1
            mounts.unmount(self.point)


class SmallDaemon(Daemon):
    """Its state directory is a file system of 24 MB."""

    def launch(self) -> int:
        if not self.state.exists():
            self.state.mkdir(mode=0o711)
            mounts.mount("tmpfs", "small", self.state, data="size=24m,mode=711")
        return super().launch()


class FullDisk(Cause):
    """The state directory has not one byte left: nothing begins, what runs goes on, and is removed."""

    title = "full disk"
    kind = SmallDaemon
    filler: Path | None = None

    def prepare(self, daemon: Daemon) -> None:
        self.pod = run_pod(daemon, self.wish)
        self.container = start(daemon, self.pod)
        filler = daemon.state / "filler"
        with filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size) == size:
                        pass
        self.filler = filler

    def hang(self, daemon: Daemon) -> None:
        run_pod(daemon, pod_config("no-room"))

    def wait_hung(self, daemon: Daemon) -> None:
        assert self.filler is not None

    def others(self, pod: Pod) -> None:
        """Another pod cannot begin, and the one that runs can be used."""
        try:
            pod.run()
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error  # noqa: PT017
            pod.id = "0" * 64  # which is not there, and may be removed
        else:
            raise AssertionError("a pod was begun on a full disk")

    def release(self) -> None:
        if self.filler is not None:
            self.filler.unlink()
            self.filler = None


def causes() -> list[type[Cause]]:
    return [
        StoppedPlugin,
        FrozenPlugin,
        StoppedRuntime,
        StoppedConmon,
        StoppedSkopeo,
        StalledRegistry,
        SilentVolume,
        FullDisk,
    ]
