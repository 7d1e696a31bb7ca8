"""Commands in the guest, by ssh over QEMU's user network: exit status, standard input and terminals come along."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from shlex import join, quote

from hack.machine import qemu
from hack.machine.needs import Missing, run, say

BOOT = 1200  # seconds a guest may take: 90 emulated on a quiet machine
SILENCE = 300  # seconds of a console that prints nothing, and no answer: such a guest hangs
_ENVIRONMENT = {  # of a command in the guest: the tree is read-only, and so is the host's cache
    "PATH": "/opt/test/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/var/cache/crishim/bin",
    "PYTHONPATH": "/work",
    "PYTHONPYCACHEPREFIX": "/var/cache/pycache",
    "HYPOTHESIS_STORAGE_DIRECTORY": "/var/cache/hypothesis",
    "CRISHIM_CACHE": "/var/cache/crishim",
    "CRISHIM_TEST_BIN": "/var/cache/crishim/bin",
    "CRISHIM_TEST_MACHINE": "1",
    "CRISHIM_TEST_PATIENCE": "8",  # times as long as elsewhere may things take that are emulated
    "CRISHIM_PYTHON": "/opt/test/bin/python",
    "LC_ALL": "C.UTF-8",
}
# The host's cache with a layer to write on. The tree of busybox's image is copied: its hundreds of hard links would be
# as many files there.
_PREPARE = """mkdir -p /var/cache/crishim /var/cache/upper /var/cache/work /var/cache/pycache
mountpoint -q /cache || mount /cache
mountpoint -q /var/cache/crishim || mount -t overlay overlay -o \
lowerdir=/cache,upperdir=/var/cache/upper,workdir=/var/cache/work /var/cache/crishim
mountpoint -q /var/cache/crishim/images || { mkdir -p /var/cache/crishim/images
mount -t tmpfs tmpfs /var/cache/crishim/images; cp -a /cache/images/busybox* /var/cache/crishim/images/ || true; }"""


def key(cache: Path) -> Path:
    """The key that the guest lets in; made if it is not there."""
    path = cache / "vm/key"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "crishim-vm", "-f", str(path)])
    return path


def ssh(machine: qemu.Machine, path: Path, *options: str) -> list[str]:
    """ssh's arguments up to the host's name. All commands share one connection: a new one takes the guest seconds."""
    argv = ["ssh", "-i", str(path), "-p", str(machine.port), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]
    argv += ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60"]
    argv += ["-o", "ControlMaster=auto", "-o", f"ControlPath={qemu.STATE}/ssh", "-o", "ControlPersist=yes"]
    return [*argv, "-o", "ServerAliveInterval=30", "-o", "ServerAliveCountMax=20", *options, "root@127.0.0.1"]


def shell_line(argv: Sequence[str]) -> str:
    """A command for the guest's shell, in the tree; one word is a line of shell as it stands."""
    exports = " ".join(f"{name}={quote(value)}" for name, value in _ENVIRONMENT.items())
    line = argv[0] if len(argv) == 1 else join(argv)
    return f"export {exports}; cd /work; {line}"


def call(machine: qemu.Machine, path: Path, argv: Sequence[str], *, terminal: bool = False) -> int:
    """Run a command in the guest, its input and output ours; its exit status."""
    options = ["-t"] if terminal else []
    line = shell_line(argv) if argv else f"{shell_line(['exec bash -l'])}"
    return subprocess.call([*ssh(machine, path, *options), line])


class HungError(Exception):
    """A boot that came to no end; what the console printed last."""


def wait(machine: qemu.Machine, path: Path) -> float:
    """Wait until the guest has booted and answers; the seconds it took. A line of progress each 15 seconds."""
    began = said = heard = time.monotonic()
    length = 0
    while True:
        now = time.monotonic()
        if not machine.alive():
            raise Missing(f"QEMU ended while the guest booted: {qemu.console()}")
        if (printed := qemu.printed()) != length:
            length, heard = printed, now
        if now - began > BOOT or now - heard > SILENCE:
            raise HungError(f"no answer after {now - began:.0f} s; its last lines: {qemu.console(100, lines=4)}")
        if now - said > 15:
            said = now
            say(f"{now - began:.0f} s: {qemu.console(100)}")
        if _answers(machine, path):
            break
        time.sleep(1)
    prepared = subprocess.run([*ssh(machine, path), _PREPARE], capture_output=True, text=True, check=False)
    if prepared.returncode:
        raise Missing(f"the guest cannot be prepared: {prepared.stderr.strip()[-300:]}")
    return time.monotonic() - began


def _answers(machine: qemu.Machine, path: Path) -> bool:
    # Bounded: one that is half made would keep those waiting that share it.
    argv = [
        "timeout",
        "60",
        *ssh(machine, path),
        "test -e /work/hack/vm || mount /work",
    ]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode == 0


def interactive() -> bool:
    return sys.stdin.isatty() and os.isatty(1)
