"""Whether this host lets pods run at all: checks that `crishim doctor` prints and the daemon's RuntimeReady tells.

Each check is the reason why not, "" if all is well. They are few and cheap: Status may be the first call of a start.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from crishim.config import Config
from crishim.config_paths import find_program
from crishim.errors import CrishimError
from crishim.linux import programs

NEEDED_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_CHROOT": 18, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27}  # capability.h
SYSTEMD = Path("/run/systemd/system")  # is there where systemd is the init: sd_booted(3)
PATIENCE = 0.25  # seconds for the first look's end; until then nothing is known against the host
AGAIN = 5.0  # seconds after which a host that was found unfit is looked at again
_LONGEST = 20.0  # seconds for a program to say its version, on a host at its limits


async def root(config: Config) -> str:
    """Needs root and some capabilities, for namespaces, mounts, cgroups and devices."""
    if os.geteuid() != 0:
        return f"crishim is not root but uid {os.geteuid()}"
    missing = missing_capabilities(Path("/proc/self/status").read_text())
    return f"crishim lacks {', '.join(missing)}" if missing else ""


def missing_capabilities(status: str) -> list[str]:
    """Those of NEEDED_CAPABILITIES that a process may not use, from its proc_pid_status(5)."""
    permitted = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapPrm:"))
    return [name for name, bit in NEEDED_CAPABILITIES.items() if not permitted >> bit & 1]


async def conmon(config: Config) -> str:
    """The monitor says that it is conmon: any other program would be started for each container, and watch nothing."""
    name = config.runtimes.conmon
    path = find_program(name)
    if path is None:
        return f"runtimes.conmon: there is no program {name}"
    try:
        done = await programs.run([path, "--version"], timeout=_LONGEST)
    except CrishimError as error:
        return f"runtimes.conmon: {error.message}"
    first = done.stdout.decode(errors="replace").partition("\n")[0]
    return "" if first.startswith("conmon version") else f"runtimes.conmon: {path} is no conmon: it says {first!r:.100}"


async def systemd(config: Config) -> str:
    """cgroup_driver = "systemd" has the OCI runtime ask systemd for each container's cgroup."""
    if config.runtimes.cgroup_driver == "systemd" and not SYSTEMD.is_dir():
        return 'runtimes.cgroup_driver is "systemd", and systemd is not the init of this host'
    return ""


CHECKS: tuple[Callable[[Config], Awaitable[str]], ...] = (root, conmon, systemd)

log = logging.getLogger("crishim.fitness")


class Fitness:
    """What the checks say, looked at once in the background; again, when asked, while the host is unfit."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._reason = ""
        self._look: asyncio.Task[None] | None = None
        self._next = 0.0

    async def reason(self) -> str:
        """Why no pod can run here, "" if nothing is known against it. Waits PATIENCE at most, for the first look."""
        if self._look is None or (self._reason and self._look.done() and time.monotonic() >= self._next):
            first = self._look is None
            self._look = asyncio.create_task(self._examine(), name="fitness")
            if not first:
                return self._reason
        if not self._look.done():
            await asyncio.wait([self._look], timeout=PATIENCE)
        return self._reason

    async def _examine(self) -> None:
        said = await asyncio.gather(*(check(self._config) for check in CHECKS), return_exceptions=True)
        before, self._reason = self._reason, "; ".join(str(each) or repr(each) for each in said if each)
        if self._reason != before:
            log.error(f"no pod can run here: {self._reason}") if self._reason else log.info("pods can run here again")
        self._next = time.monotonic() + AGAIN
