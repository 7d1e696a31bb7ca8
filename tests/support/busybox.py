"""The image that most tests run: a small busybox, built on the spot, and a daemon that has it."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon, scratch_daemon

_BUILD = Path(__file__).parents[2] / "hack/build-images"


def build_archive(directory: Path) -> Path:
    """Write an OCI archive of the image."""
    path = directory / "busybox.tar"
    subprocess.run([sys.executable, str(_BUILD), "--demo", str(path)], check=True, capture_output=True)
    return path


@contextlib.contextmanager
def daemon_with(archive: Path, **settings: Any) -> Iterator[Daemon]:
    """A running daemon with an archive's image."""
    with scratch_daemon(**settings) as daemon:
        done = daemon.command("images", "import", str(archive))
        assert done.returncode == 0, done.stderr
        yield daemon
