"""Whether pods can run on this host: checks for `crishim doctor` and the RuntimeReady condition.

Each check returns the reason why not, or "". They are few and cheap: Status may be the first call after a start.
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
PATIENCE = 0.25  # seconds to wait for the first run of the checks; until it ends the host counts as fit
AGAIN = 5.0  # seconds until the checks run again on an unfit host
_VERSION_TIMEOUT = 20.0  # seconds for `conmon --version`, on an overloaded host


async def root(config: Config) -> str:
    """The daemon needs root and some capabilities, for namespaces, mounts, cgroups and devices."""
    if os.geteuid() != 0:
        return f"crishim is not root but uid {os.geteuid()}"
    missing = missing_capabilities(Path("/proc/self/status").read_text())
    return f"crishim lacks {', '.join(missing)}" if missing else ""


def missing_capabilities(status: str) -> list[str]:
    """Those of NEEDED_CAPABILITIES that a process does not have, from its proc_pid_status(5)."""
    permitted = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapPrm:"))
    return [name for name, bit in NEEDED_CAPABILITIES.items() if not permitted >> bit & 1]


async def conmon(config: Config) -> str:
    """`--version` must print conmon's: any other program would be started for each container and monitor nothing."""
    name = config.runtimes.conmon
    path = find_program(name)
    if path is None:
        return f"runtimes.conmon: there is no program {name}"
    try:
        done = await programs.run([path, "--version"], timeout=_VERSION_TIMEOUT)
    except CrishimError as error:
        return f"runtimes.conmon: {error.message}"
    first = done.stdout.decode(errors="replace").partition("\n")[0]
    return "" if first.startswith("conmon version") else f"runtimes.conmon: {path} is no conmon: it says {first!r:.100}"


async def systemd(config: Config) -> str:
    """With cgroup_driver = "systemd" the OCI runtime asks systemd for each container's cgroup."""
    if config.runtimes.cgroup_driver == "systemd" and not SYSTEMD.is_dir():
        return 'runtimes.cgroup_driver is "systemd", and systemd is not the init of this host'
    return ""


CHECKS: tuple[Callable[[Config], Awaitable[str]], ...] = (root, conmon, systemd)

log = logging.getLogger("crishim.fitness")


class Fitness:
    """Runs the checks once in the background; again when asked, while the host is unfit."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._reason = ""
        self._checking: asyncio.Task[None] | None = None
        self._check_after = 0.0

    async def reason(self) -> str:
        """Why no pod can run here, "" if no check failed. Waits PATIENCE at most, for the first run of the checks."""
        if self._checking is None or (self._reason and self._checking.done() and time.monotonic() >= self._check_after):
            first = self._checking is None
            self._checking = asyncio.create_task(self._check(), name="fitness")
            if not first:
                return self._reason
        if not self._checking.done():
            await asyncio.wait([self._checking], timeout=PATIENCE)
        return self._reason

    async def _check(self) -> None:
        results = await asyncio.gather(*(check(self._config) for check in CHECKS), return_exceptions=True)
        before, self._reason = self._reason, "; ".join(str(each) or repr(each) for each in results if each)
        if self._reason != before:
            log.error(f"no pod can run here: {self._reason}") if self._reason else log.info("pods can run here again")
        self._check_after = time.monotonic() + AGAIN
