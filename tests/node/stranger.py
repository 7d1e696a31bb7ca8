"""Another user of the node, who tries every path he could know of.

reach() runs main() as him, with the distribution's python3: the tests' own may lie where only root can go.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


class Reached(NamedTuple):
    seen: set[str]  # lstat(2) answers: the parent can be passed
    opened: set[str]  # files read, directories listed, or a file made in them
    entered: set[str]  # directories one can pass


def root_of(userns: str) -> list[str]:
    """The command of somebody who is root, with every capability, in a pod's user namespace; the node's otherwise."""
    return ["nsenter", f"--user={userns}", "--setuid", "0", "--setgid", "0"]


def reach(who: Sequence[str], paths: Iterable[str]) -> Reached:
    """What of these paths somebody (a command that becomes him and runs its arguments) can get at."""
    done = subprocess.run(
        [*who, "/usr/bin/python3", "-I", "-"],
        input=Path(__file__).read_text() + f"\nmain({json.dumps(sorted(paths))})\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Reached(*(set(found) for found in json.loads(done.stdout)))


def everything(*tops: Path) -> set[str]:
    """Every path at and below the directories, as root sees them."""
    found = {str(top) for top in tops}
    for top in tops:
        for directory, directories, files in os.walk(top):
            found |= {os.path.join(directory, name) for name in (*directories, *files)}
    return found


def main(paths: list[str]) -> None:
    seen, opened, entered = [], [], []
    for path in paths:
        try:
            os.lstat(path)
            seen.append(path)
        except OSError:
            continue
        directory = os.path.isdir(path) and not os.path.islink(path)
        if directory and os.access(path, os.X_OK):
            entered.append(path)
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY if directory else os.O_WRONLY
            os.close(os.open(path + "/of-a-stranger" if directory else path, flags | os.O_NONBLOCK | os.O_NOCTTY))
            opened.append(path)
        except OSError:
            pass
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
            opened.append(path)
        except OSError:
            pass
    json.dump([seen, opened, entered], sys.stdout)
