"""What the virtual machine asks of this host, in one line where it is missing."""

import subprocess
import sys
from collections.abc import Sequence


class Missing(Exception):
    """This host cannot have the machine: one line says why, the exit status is 3."""


def say(text: str) -> None:
    """A line of progress."""
    print(f"hack/vm: {text}", file=sys.stderr, flush=True)


def run(command: Sequence[str], timeout: float = 1800, stdin: int | None = None, name: str = "") -> str:
    """A program's output; Missing with the last line of what it said if it fails. name: what it is called there."""
    name = name or command[0]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, stdin=stdin)
    except FileNotFoundError as error:
        raise Missing(f"no {name}") from error
    except subprocess.TimeoutExpired as error:
        raise Missing(f"{name} did not end in {timeout:.0f} s") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        raise Missing(f"{name} failed: {lines[-1][:300]}")
    return done.stdout
