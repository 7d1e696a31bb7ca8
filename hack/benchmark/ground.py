"""What all measurements stand on: an environment as installed, an image, and the memory of processes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from crishim.linux import cgroups, mounts
from tests.support.daemon import IMAGE, Daemon
from tests.support.residue import links, processes

PARENTS = ("k8s.io", "crio")  # cgroups that containerd and CRI-O make for pods whose client names none, and leave
ROOT = Path(__file__).parents[2]


def as_installed() -> None:
    """Let daemons keep compiled modules: the set-up's environment does not, and a start would compile all of them.

    They get the environment of the unit file, too. SIGTERM cleans up as Ctrl-C does.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(Path.home() / ".cache/crishim/pycache")
    for line in (ROOT / "packaging/crishim.service").read_text().splitlines():
        if line.startswith("Environment="):
            name, _, value = line.removeprefix("Environment=").partition("=")
            os.environ[name] = value


def archive(directory: Path, name: str = IMAGE, words: Sequence[str] = ()) -> Path:
    """An archive of one small image, made once. words: what it runs."""
    path = directory / f"{name.replace('/', '_').replace(':', '_')}.tar"
    if not path.exists():
        command = [sys.executable, str(ROOT / "hack/build-images"), "--demo", str(path), "--name", name]
        command += ["--config", json.dumps({"Entrypoint": [*words], "Cmd": []})] if words else []
        subprocess.run(command, check=True, capture_output=True)
    return path


def load_busybox(daemon: Daemon) -> None:
    done = daemon.command("images", "import", str(archive(daemon.directory)))
    assert done.returncode == 0, done.stderr


def load() -> str:
    """The load average of the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def machine() -> str:
    return f"{os.cpu_count()} cores, Linux {'.'.join(os.uname().release.split('.')[:2])}"


def residue() -> set[str]:
    """What a measurement may leave: directories, mounts, cgroups, links, and processes that name its directories."""
    found = {str(path) for path in Path("/dev/shm").glob("cb-*")}
    found |= {p.target for p in mounts.table() if "/cb-" in p.target}
    found |= set(map(str, groups("cb-*", "crio-*", *PARENTS)))
    return found | links() | set(processes("/cb-")) | contained()


def groups(*patterns: str) -> set[Path]:
    """cgroups at the roots of the hierarchies."""
    return {path for top in cgroups.hierarchies().values() for pattern in patterns for path in top.glob(pattern)}


def contained() -> set[str]:
    """Processes of containers on a measurement's directories, by their mounts: nothing else of them has the name."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if "/cb-" in (entry / "mountinfo").read_text() and "/cb-" not in (entry / "cmdline").read_text():
                found.add(f"{entry.name} {(entry / 'comm').read_text().strip()}")
    return found - {f"{os.getpid()} {Path('/proc/self/comm').read_text().strip()}"}
