"""Real bundles for the spec tests: a busybox root file system in memory, pods' namespaces, a runtime, a leak count."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from crishim import model
from crishim.lifecycle import PodState
from crishim.linux import cgroups, mounts, namespaces
from crishim.pb import cri_pb2 as cri
from crishim.spec.build import build
from crishim.spec.inputs import Host, Inputs

APPLETS = "sh cat id ls env mount sleep grep chmod touch mknod stat readlink unshare test echo od pwd dd head umount"
PASSWD = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n"
GROUP = "root:x:0:\nstaff:x:50000:alice\n"


def runtimes() -> list[Path]:
    """crun and runc, which the handlers are made for: of CRISHIM_TEST_BIN first, then of PATH."""
    places = [*os.environ.get("CRISHIM_TEST_BIN", "").split(":"), *os.environ["PATH"].split(":"), "/usr/sbin"]
    found: dict[str, Path] = {}
    for place in filter(None, places):
        for name in ("runc", "crun"):
            path = Path(place) / name
            if os.access(path, os.X_OK):
                found.setdefault(name, path)
    return list(found.values())


def features(runtime: Path) -> dict[str, Any] | None:
    done = subprocess.run([runtime, "features"], capture_output=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


class Lab:
    """A directory with a root file system, in which one runtime runs containers one after the other."""

    def __init__(self, directory: Path, runtime: Path) -> None:
        self.directory, self.runtime = directory, runtime
        self.features = features(runtime)
        self.host = Host.probe()
        self.pins = model.NamespacePaths()
        self.rootfs = directory / "rootfs"
        self._state = directory / "state"
        self._unpin: list[Path] = []
        self._make_rootfs()

    def _make_rootfs(self) -> None:
        for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "root"):
            (self.rootfs / name).mkdir(parents=True)
        (self.rootfs / "tmp").chmod(0o1777)
        shutil.copy("/bin/busybox", self.rootfs / "bin/busybox")
        for applet in APPLETS.split():
            (self.rootfs / "bin" / applet).symlink_to("busybox")
        (self.rootfs / "etc/passwd").write_text(PASSWD)
        (self.rootfs / "etc/group").write_text(GROUP)
        self.directory.chmod(0o755)

    def make_pod(self) -> None:
        """Give the pod network, IPC and UTS namespaces of its own."""
        pins = {kind: self.directory / f"ns-{kind}" for kind in ("net", "ipc", "uts")}
        namespaces.make(pins, lambda: None)
        self.adopt(pins)

    def adopt(self, pins: Mapping[str, Path]) -> None:
        """Use these pinned namespaces as the pod's, and unpin them at the end."""
        self._unpin += pins.values()
        self.pins = model.NamespacePaths(**{kind: str(path) for kind, path in pins.items()})

    def inputs(self, config: cri.ContainerConfig, **changes: Any) -> Inputs:
        """Inputs for a container in this pod; its PID namespace is its own unless the request says otherwise."""
        pod = changes.pop("pod", None) or cri.PodSandboxConfig()
        if not config.linux.security_context.HasField("namespace_options"):
            pod.linux.security_context.namespace_options.pid = cri.CONTAINER
        record = model.PodRecord(
            id="pod", state=PodState.READY, config=b"", handler="", created_at=1, namespaces=self.pins
        )
        known: dict[str, Any] = {
            "container_id": "c",
            "config": config,
            "pod": pod,
            "record": record,
            "image": {"config": {"Env": ["PATH=/bin"]}},
            "rootfs": str(self.rootfs),
            "cgroups_path": f"/crishim-spec-{os.getpid()}/c",
            "host": self.host,
            "features": self.features,
            "launcher": "/bin/busybox",
        }
        return Inputs(**(known | changes))

    def start(self, script: str, config: cri.ContainerConfig | None = None, **changes: Any) -> subprocess.Popen[bytes]:
        """Run `sh -c script` in a container made from the request."""
        config = config or cri.ContainerConfig()
        config.command[:] = ["/bin/sh", "-c", script]
        built = build(self.inputs(config, **changes))
        (self.directory / "config.json").write_bytes(built.encode())
        argv: list[str | Path] = [self.runtime, f"--root={self._state}", "run", f"--bundle={self.directory}", "c"]
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, script: str, config: cri.ContainerConfig | None = None, **changes: Any) -> str:
        """What the container prints; its failure is the test's."""
        return self.run_raw(script, config, **changes).decode()

    def run_raw(self, script: str, config: cri.ContainerConfig | None = None, **changes: Any) -> bytes:
        process = self.start(script, config, **changes)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0, (err.decode(errors="replace"), out)
        return out

    def exec(self, process: bytes) -> str:
        """Run a process.json in the running container."""
        path = self.directory / "process.json"
        path.write_bytes(process)
        argv: list[str | Path] = [self.runtime, f"--root={self._state}", "exec", f"--process={path}", "c"]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=20)
        return done.stdout

    def left(self) -> list[str]:
        """What containers and runtime left: mounts, cgroups, state."""
        found = [p for p in mounts.below(self.directory) if Path(p) not in self._unpin]
        roots = {str(p) for p in cgroups.hierarchies().values()}
        found += [str(p) for root in roots for p in Path(root).glob(f"crishim-spec-{os.getpid()}/*") if p.is_dir()]
        return found + ([str(p) for p in self._state.iterdir()] if self._state.exists() else [])

    def close(self) -> None:
        for path in self._unpin:
            namespaces.unpin(path)
        for root in {str(p) for p in cgroups.hierarchies().values()}:
            for path in Path(root).glob(f"crishim-spec-{os.getpid()}"):
                path.rmdir()
        shutil.rmtree(self.directory)


def lines(text: str) -> dict[str, str]:
    """ "Name:<space>value" lines of /proc/PID/status and the like."""
    split: Sequence[tuple[str, str, str]] = [line.partition(":") for line in text.splitlines()]
    return {name.strip(): value.strip() for name, _, value in split}


@pytest.fixture(params=runtimes(), ids=lambda path: path.name)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A root file system and a runtime; after the test nothing of its containers is left."""
    made = Lab(Path(tempfile.mkdtemp(prefix="crishim-spec-", dir="/dev/shm")), request.param)
    yield made
    left = made.left()
    for path in mounts.below(made.directory):
        mounts.unmount(path)
    made.close()
    assert left == []


def secured(**context: object) -> cri.ContainerConfig:
    config = cri.ContainerConfig()
    config.linux.security_context.CopyFrom(cri.LinuxContainerSecurityContext(**context))  # type: ignore[arg-type]
    config.linux.security_context.namespace_options.pid = cri.CONTAINER
    return config


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
