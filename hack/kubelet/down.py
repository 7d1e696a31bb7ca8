"""Taking a node, or a cluster of several, down again: pods through the runtime while it answers, then what is left."""

import subprocess
import sys
from pathlib import Path

from crishim.linux import cgroups, mounts
from hack.kubelet import record
from hack.kubelet.record import OneNode


def down() -> None:
    known = record.read()
    for one in known.nodes:
        _end_programs(one)
    for pid in known.pids.values():
        record.end(pid, known.directory)
    for one in known.nodes:
        cgroups.kill(one.cgroup)
        cgroups.remove(one.cgroup)
        record.end(one.pids.get("machine", 0), one.directory)
        _remove(one.directory)
    _remove(known.directory)
    record.remove()
    print("node: gone")


def _end_programs(one: OneNode) -> None:
    """The kubelet first, or it would start the pods again."""
    for name in ("driver", "kubelet", "daemon"):
        pid = one.pids.get(name, 0)
        if name == "daemon" and record.alive(pid, one.directory):
            command = [sys.executable, "-m", "hack.kubelet", "crictl", f"--node={one.name}", "rmp", "--all", "--force"]
            if subprocess.run(command).returncode:
                print("node: the runtime did not remove its pods; their processes are killed", file=sys.stderr)
        record.end(pid, one.directory)


def _remove(directory: str) -> None:
    for target in mounts.below(Path(directory)):
        mounts.unmount(target)
    subprocess.run(["rm", "-rf", directory], check=True)
