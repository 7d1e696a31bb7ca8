"""What the kernel and the daemon say of a container's processes."""

import json
import os
import signal
from pathlib import Path

from tests.support.daemon import Daemon, eventually


def info(daemon: Daemon, container: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(
        daemon.call("ContainerStatus", container_id=container, verbose=True).info["info"]
    )
    return found


def is_gone(pid: int) -> bool:
    """Whether a process is gone, or at least dead: nobody here reaps a conmon's orphans at once."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith(("Z", "X"))
    except (FileNotFoundError, ProcessLookupError):
        return True


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_gone(pid), f"process {pid} is gone")
