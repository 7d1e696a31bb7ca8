"""What a daemon may leave on the node, by kind: what is there before a test and after it is compared.

A daemon takes away after its answer: what vanishes during a look is not there.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from crishim.linux import cgroups

BRIDGE = "crishimt0"


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
