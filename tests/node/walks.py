"""A page of docs/ does what it says: its blocks are run, in a throw-away host, and its answers compared."""

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARK = "--- end of block ---"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # Debian 13's ip colours what it shows on a terminal
WARNING = re.compile("level=warning|WARN")  # crictl's, on a file and on a terminal


def blocks(page: Path) -> list[tuple[str, list[str]]]:
    """(commands, expected lines) in the page's order: a block of sh, and below it what to expect, if anything."""
    found: list[tuple[str, list[str]]] = []
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        if language == "sh":
            found.append((body.replace('eval "$(hack/setup demo)"\n', ""), []))  # its two variables are given
        elif not language and found:
            found[-1][1].extend(body.splitlines())
    return found


def matches(expected: str, line: str) -> bool:
    pattern = ".*".join(map(re.escape, expected.split("…")))
    return re.fullmatch(re.sub(r"(?:\\ )+", r"\\s+", pattern), line) is not None


def environment() -> dict[str, str]:
    places = os.environ.get("CRISHIM_TEST_BIN", "").split(":")
    tools = next((p for p in places if (Path(p) / "crictl").exists()), None)
    assert tools is not None, "no crictl in CRISHIM_TEST_BIN"
    return os.environ | {"CRISHIM_TEST_BIN": tools, "CRISHIM_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}


def walk(name: str, *enter: str) -> str:
    """Every block succeeds, and the lines below it are in its output, in that order.

    enter: the command that runs another in the host it is for, as nsenter(1) does. Returns what was printed after the
    last block.
    """
    steps = blocks(ROOT / "docs" / name)
    script = "set -e\n" + _finish(steps) + "".join(f"{commands}\necho '{MARK}'\n" for commands, _ in steps)
    done = subprocess.run(
        [*enter, "bash", "-c", script],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    last = _compare(steps, done.stdout, done.stderr)
    assert done.returncode == 0, f"{last}\n{done.stderr[-3000:]}"
    return last


def paste(name: str, *enter: str) -> str:
    """The same, with the page's text put into an interactive shell at once, as from a terminal without bracketed paste.

    What a command reads of its standard input is then missing from what follows.
    """
    steps = blocks(ROOT / "docs" / name)
    typed = _finish(steps) + "".join(f"{commands}\necho '{MARK}'\n" for commands, _ in steps) + "exit\n"
    assert "\t" not in typed  # a shell would complete
    code, said = _terminal(typed, [*enter, "bash", "--norc", "--noediting", "-i"])
    assert said.count(MARK + "\n") == len(steps), f"a command took what was pasted after it:\n{said[-3000:]}"
    last = _compare(steps, said, "")
    assert code == 0, last
    return last


def _finish(steps: list[tuple[str, list[str]]]) -> str:
    """Clean up as the page does it, whatever happens."""
    return "finish() { set +e\n" + steps[-1][0] + "}\ntrap 'finish > /dev/null 2>&1' EXIT\n"


def _terminal(text: str, command: Sequence[str]) -> tuple[int, str]:
    """Run a command on a terminal on which a text was typed: its exit code, and what it showed, without the text."""
    master, slave = pty.openpty()
    settings = termios.tcgetattr(slave)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, settings)
    env = environment() | {"PS1": "", "PS2": "", "HISTFILE": "/dev/null"}
    ctty = ("setsid", "--ctty", "--wait")
    shell = subprocess.Popen([*ctty, *command], cwd=ROOT, env=env, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    threading.Thread(target=_write, args=(master, text.encode()), daemon=True).start()
    shown = b""
    deadline = time.monotonic() + 150
    with contextlib.suppress(OSError):  # EIO: nobody has the terminal any more
        while time.monotonic() < deadline:
            shown += os.read(master, 65536) if select.select([master], [], [], 1)[0] else b""
    os.close(master)  # SIGHUP for whoever still has it
    return shell.wait(10), COLOUR.sub("", shown.decode()).replace("\r\n", "\n")


def _write(master: int, text: bytes) -> None:
    """All of it: a terminal takes what its reader has room for."""
    with contextlib.suppress(OSError):
        while text:
            text = text[os.write(master, text) :]


def _compare(steps: list[tuple[str, list[str]]], stdout: str, stderr: str) -> str:
    """Every line to expect is in its block's output, and crictl warns of nothing; what comes after the last block."""
    outputs = stdout.split(MARK + "\n")
    for (commands, expected), output in zip(steps, outputs, strict=False):
        lines = iter((output + "\n" + stderr).splitlines())
        for wanted in expected:
            assert any(matches(wanted, line) for line in lines), (
                f"{wanted!r} is not in the output of\n{commands}\n{output}\n{stderr[-2000:]}"
            )
        assert not WARNING.search(output), f"{commands}\n{output}"
    assert not WARNING.search(stderr), stderr
    return outputs[-1]
