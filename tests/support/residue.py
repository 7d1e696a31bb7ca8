"""What a daemon may leave on the node, by kind: what is there before a test and after it is compared.

A daemon takes away after its answer: what vanishes during a look is not there.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from crishim.linux import cgroups

BRIDGE = "crishimt0"


def left_behind(
    look: Callable[[], dict[str, set[str]]], before: Mapping[str, set[str]], timeout: float
) -> dict[str, set[str]]:
    """What look() finds that was not there before, by kind; empty as soon as it is gone within timeout seconds.

    A client's end may come before the daemon's own: a pull whose caller has left is killed then.
    """
    until = time.monotonic() + timeout
    while True:
        new = {kind: added for kind, found in look().items() if (added := found - before[kind])}
        if not new or time.monotonic() > until:
            return new
        time.sleep(0.01)


def named(new: Mapping[str, set[str]]) -> list[str]:
    """Each of these things in a line, with its kind."""
    return [f"{kind} {what}" for kind, found in new.items() for what in sorted(found)]


def links() -> set[str]:
    out = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    return {line.split(":")[1].strip() for line in out.splitlines()} - {BRIDGE, "lo"}


def rules(inside: Sequence[str] = ()) -> set[str]:
    """Rules of pods: the bridge plugin's masquerading, portmap's forwarding. Their empty chains stay, as designed.

    inside: the command that runs another one in other namespaces.
    """
    out = subprocess.run([*inside, "iptables-save", "-t", "nat"], capture_output=True, text=True, check=False).stdout
    return {line for line in out.splitlines() if "10.231." in line}


def groups(parent: str) -> Iterator[str]:
    for top in cgroups.directories(parent):
        yield from (str(Path(d).relative_to(top)) for d, _, _ in os.walk(top) if d != str(top))


def processes(mark: str) -> Iterator[str]:
    """Processes that carry the run directory in their command line, but the daemon itself, whose name is another."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if mark in command:
                    yield f"{entry.name} {command[:200]}"


def files(directory: Path) -> Iterator[str]:
    """Files of pods and containers, and leased addresses; not the images, the log, the daemon's own."""
    kept = ("state/images", "state/downloads", "state/init", "run/images", "logs", "run/runtime")
    below = (Path(top) / name for top, inside, files in os.walk(directory) for name in (*inside, *files))
    for path in below:
        name = str(path.relative_to(directory))
        if name.startswith(kept) or name.startswith("ipam/test/last_reserved") or name == "ipam/test/lock":
            continue
        if path.is_file() or path.is_symlink():
            yield name
    for top, inside, _ in os.walk(directory / "run/runtime"):
        if top.count("/") == str(directory / "run/runtime").count("/") + 1:
            yield from (str(Path(top, name).relative_to(directory)) for name in inside)
