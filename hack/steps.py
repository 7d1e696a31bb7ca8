"""Steps of a script that shows what it does: each is said, run, and held to what it promises."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


class Failed(Exception):
    """A step that did not hold."""


def say(text: str) -> None:
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def run(*argv: str | Path, check: bool = True, show: bool = False) -> str:
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise Failed(f"{' '.join(map(str, argv))}: {done.stderr.strip() or done.stdout.strip()}")
    if show:
        print("\n".join("   " + line for line in done.stdout.strip().splitlines()), flush=True)
    return done.stdout


def hold(what: str, condition: object) -> None:
    """Print a checked fact, or end the demo."""
    if not condition:
        raise Failed(what)
    print(f"   ok: {what}", flush=True)


def wait(what: str, look: Callable[[], object], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not look():
        if time.monotonic() > deadline:
            raise Failed(f"not within {timeout:g} s: {what}")
        time.sleep(0.02)
