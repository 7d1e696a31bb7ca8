"""A page of docs/ does what it says: its blocks are run, in a throw-away host, and its answers compared."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARK = "--- end of block ---"


def blocks(page: Path) -> list[tuple[str, list[str]]]:
    """(commands, expected lines) in the page's order: a block of sh, and below it what to expect, if anything."""
    found: list[tuple[str, list[str]]] = []
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        if language == "sh":
            found.append((body, []))
        elif not language and found:
            found[-1][1].extend(body.splitlines())
    return found


def matches(expected: str, line: str) -> bool:
    pattern = ".*".join(map(re.escape, expected.split("…")))
    return re.fullmatch(re.sub(r"(?:\\ )+", r"\\s+", pattern), line) is not None


def walk(name: str, *enter: str) -> str:
    """Every block succeeds, and the lines below it are in its output, in that order.

    enter: the command that runs another in the host it is for, as nsenter(1) does. Returns what was printed after the
    last block.
    """
    steps = blocks(ROOT / "docs" / name)
    finish = "finish() { set +e\n" + steps[-1][0] + "}\ntrap 'finish > /dev/null 2>&1' EXIT\n"
    script = "set -e\n" + finish + "".join(f"{commands}\necho '{MARK}'\n" for commands, _ in steps)
    script = script.replace('eval "$(hack/setup demo)"\n', "")  # the set-up has run: its two variables are given
    places = os.environ.get("CRISHIM_TEST_BIN", "").split(":")
    tools = next((p for p in places if (Path(p) / "crictl").exists()), None)
    assert tools is not None, "no crictl in CRISHIM_TEST_BIN"
    env = os.environ | {"CRISHIM_TEST_BIN": tools, "CRISHIM_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*enter, "bash", "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, timeout=150, check=False
    )
    outputs = done.stdout.split(MARK + "\n")
    for (commands, expected), output in zip(steps, outputs, strict=False):
        lines = iter((output + "\n" + done.stderr).splitlines())
        for wanted in expected:
            assert any(matches(wanted, line) for line in lines), (
                f"{wanted!r} is not in the output of\n{commands}\n{output}\n{done.stderr[-2000:]}"
            )
    assert done.returncode == 0, f"{outputs[-1]}\n{done.stderr[-3000:]}"
    return outputs[-1]
