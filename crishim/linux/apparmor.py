"""AppArmor: the profiles that are loaded, and the containers' default profile, which is loaded when first needed."""

import asyncio
from pathlib import Path
from typing import Final

from crishim.config_paths import find_program
from crishim.errors import CrishimError, Kind
from crishim.linux import executors, programs

LOADED: Final = Path("/sys/kernel/security/apparmor/profiles")
OWN: Final = "crishim-default"  # the name in bundles/apparmor.profile
PARSER: Final = "apparmor_parser"
_TIMEOUT = 60.0  # seconds a profile may take to be compiled
_ENABLED: Final = Path("/sys/module/apparmor/parameters/enabled")


def enabled() -> bool:
    """Whether this kernel has AppArmor and was booted with it."""
    try:
        return _ENABLED.read_text().startswith("Y")
    except OSError:
        return False


def parse_profiles(text: str) -> set[str]:
    """Names of /sys/kernel/security/apparmor/profiles: "name (mode)" a line; a name may hold spaces."""
    return {line.rpartition(" (")[0] for line in text.splitlines() if line.endswith(")")}


class DefaultProfile:
    """The profile of RuntimeDefault: ours, loaded when first needed and when somebody unloaded it, or another one that
    the administrator loads.
    """

    def __init__(self, name: str, text: bytes, loaded: Path = LOADED) -> None:
        """name: of the settings, "" for none. text: of our own profile. loaded: the kernel's list."""
        self._name = name
        self._text = text
        self._list = loaded
        self._current = False  # the text was loaded in this daemon's life: an older version's is replaced
        self._lock = asyncio.Lock()

    async def ready(self) -> str:
        """The name of the profile, which is loaded now; "" if there is none: no setting, or no parser.

        PRECONDITION: an administrator's is not loaded. INTERNAL: ours is refused by the parser or the kernel.
        """
        if not self._name or (self._name == OWN and not find_program(PARSER)):
            return ""
        async with self._lock:
            there = self._name in parse_profiles(await executors.kernel(self._list.read_text))
            if self._name != OWN and not there:
                text = f"the AppArmor profile {self._name!r} of runtimes.apparmor_profile is not loaded"
                raise CrishimError(Kind.PRECONDITION, text, profile=self._name)
            if self._name == OWN and not (there and self._current):
                # Not from the parser's cache: it goes by file names and dates.
                command = [find_program(PARSER) or PARSER, "--replace", "--skip-cache"]
                await programs.run(command, timeout=_TIMEOUT, stdin=self._text)
                self._current = True
        return self._name
