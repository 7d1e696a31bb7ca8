"""Bare OCI runtimes: which there are, which of them move devices, and a container of one."""

import contextlib
import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crishim.linux import cgroups
from crishim.netdev.records import Mover

if TYPE_CHECKING:
    from tests.node.netdev.lab import Lab

# crun refuses a hybrid cgroup host that leaves a controller in v2; it need not see v2, and nobody else is affected.
HIDE_HYBRID = ["unshare", "-m", "sh", "-c", 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "sh"]


class Kit:
    """One way of moving devices, and the runtime whose container uses them."""

    def __init__(self, name: str, mover: Mover, runtime: Path) -> None:
        self.name, self.mover, self.runtime = name, mover, runtime


def candidates() -> list[Path]:
    places = os.environ.get("CRISHIM_TEST_BIN", "").split(":") + os.environ.get("PATH", "").split(":")
    found = [Path(p) / n for p in places if p for n in ("runc", "crun", "youki")]
    return [p for p in dict.fromkeys(found) if p.is_file() and os.access(p, os.X_OK)]


def moves_devices(runtime: Path) -> bool:
    """Whether `features` says linux.netDevices.enabled; youki 0.7.0 has it without saying so."""
    if runtime.name == "youki":
        return True
    done = subprocess.run([runtime, "features"], capture_output=True, check=False)
    with contextlib.suppress(ValueError):
        return bool(json.loads(done.stdout).get("linux", {}).get("netDevices", {}).get("enabled"))
    return False


def kits() -> list[Kit]:
    """The OCI runtimes that move devices, and the built-in mover before an old and a new runtime."""
    found = candidates()
    able = [p for p in found if moves_devices(p)]
    old = next((p for p in found if p.name == "crun" and p not in able), None)
    made = [Kit(f"{p.name}-moves", Mover.RUNTIME, p) for p in {p.name: p for p in reversed(able)}.values()]
    if old is not None:
        made.append(Kit("builtin-old-crun", Mover.BUILTIN, old))
    if able:
        made.append(Kit(f"builtin-{able[0].name}", Mover.BUILTIN, able[0]))
    return made


class Container:
    """A container of a bare runtime: busybox that sleeps, in the pod's network namespace."""

    def __init__(self, lab: "Lab", runtime: Path, netns: Path, entries: Any) -> None:
        self.lab, self.runtime, self.id = lab, runtime, f"netdev-lab-{lab.directory.name}-{uuid.uuid4().hex[:8]}"
        self.bundle = lab.directory / self.id
        (self.bundle / "rootfs/bin").mkdir(parents=True)
        shutil.copy("/bin/busybox", self.bundle / "rootfs/bin/sh")
        for name in ("proc", "dev", "sys"):
            (self.bundle / "rootfs" / name).mkdir()
        spaces: list[dict[str, str]] = [{"type": kind} for kind in ("mount", "pid", "ipc", "uts")]
        spec: dict[str, Any] = {
            "ociVersion": "1.3.0" if entries else "1.0.2",
            "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]},
            "root": {"path": "rootfs"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {"namespaces": [*spaces, {"type": "network", "path": str(netns)}], "cgroupsPath": f"/{self.id}"},
        }
        spec["process"]["args"] = ["/bin/sh", "-c", "sleep 300"]
        if entries:
            spec["linux"]["netDevices"] = entries
        (self.bundle / "config.json").write_text(json.dumps(spec))
        lab.containers.append(self)

    @classmethod
    def left_behind(cls, lab: "Lab", bundle: Path) -> "Container":
        made = cls.__new__(cls)
        made.lab, made.runtime, made.id, made.bundle = lab, lab.kit.runtime, bundle.name, bundle
        return made

    def call(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        argv = ["nsenter", f"--net={self.lab.host}", str(self.runtime), "--root", str(self.lab.directory / "runtime")]
        if self.runtime.name == "crun":
            argv = [*HIDE_HYBRID, *argv]
        with (self.bundle / "log").open("w+b") as log:
            done = subprocess.run([*argv, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
            log.seek(0)
            if check and done.returncode:
                raise RuntimeError(log.read().decode())
        return done

    def output(self, *words: str) -> bytes:
        argv = [*HIDE_HYBRID, str(self.runtime), "--root", str(self.lab.directory / "runtime"), *words]
        return subprocess.run(argv, capture_output=True, check=True).stdout

    def create(self) -> None:
        self.call("create", "--bundle", str(self.bundle), self.id)

    def start(self) -> None:
        self.call("start", self.id)

    def kill(self) -> None:
        """End and delete it, as far as it exists."""
        self.call("delete", "--force", self.id, check=False)
        cgroups.kill(f"/{self.id}")  # which youki leaves if the process takes long to end
        cgroups.remove(f"/{self.id}")
        if self in self.lab.containers:
            self.lab.containers.remove(self)
        shutil.rmtree(self.bundle, ignore_errors=True)
