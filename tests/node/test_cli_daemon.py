"""What the command line says where there is no daemon, two, or one that is not root."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, scratch_daemon

pytestmark = pytest.mark.node
ROOT = str(Path(__file__).parents[2])


@pytest.mark.parametrize(
    "arguments",
    [
        *(("netdev", "list"), ("netdev", "list", "--host"), ("netdev", "show", "x"), ("nri", "list"), ("pod", "check")),
        *(("info",), ("events",), ("top",), ("images", "list", "--pulling")),
    ],
)
def test_commands_that_need_a_daemon(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """One plain sentence names the socket, and why nobody can be asked there."""
    config = tmp_path / "config.toml"
    config.write_text(f"socket = '{tmp_path}/sock'\n")
    command = [sys.executable, "-m", "crishim", "--config", str(config), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"crishim: no daemon answers at {tmp_path}/sock (No such file or directory): start one"
    )
    assert len(done.stderr.splitlines()) == 1


def test_a_second_daemon(daemon: Daemon) -> None:
    """It is told the pid of the first, which it leaves alone; a restart has the new one's."""
    for _ in range(2):
        assert daemon.process is not None
        done = daemon.command("serve")
        expected = f"crishim: another crishim daemon works in {daemon.state} (pid {daemon.process.pid})\n"
        assert (done.returncode, done.stderr) == (2, expected)
        assert (daemon.state / "lock").read_text() == f"{daemon.process.pid}\n"
        daemon.stop()
        daemon.start()


def test_serve_as_somebody_else() -> None:
    """It says what it needs to be root for, before it speaks of directories."""
    with scratch_daemon() as daemon:
        daemon.stop()
        daemon.state.rename(daemon.directory / "before")
        reads = "dac_read_search"  # the interpreter may lie in root's home
        command = [
            "setpriv",
            "--reuid=65534",
            "--clear-groups",
            f"--inh-caps=-all,+{reads}",
            f"--ambient-caps=+{reads}",
        ]
        command += [sys.executable, "-m", "crishim", "serve", "--config", str(daemon.config)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, env=os.environ | {"PYTHONPATH": ROOT}
        )
        assert done.returncode == 2
        needs = (
            "crishim: crishim serve needs root, for namespaces, mounts, cgroups and devices, and runs as uid 65534 ("
        )
        assert done.stderr.startswith(needs)
        assert len(done.stderr.splitlines()) == 1
