"""crishim/cli/allocator.py: a program that starts with malloc, whoever started it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from crishim.cli import allocator

PROGRAM = """
import json, os, sys
from crishim.cli.allocator import start_with_pages
start_with_pages()
ours = {k: v for k, v in os.environ.items() if k in ("PYTHONMALLOC", "GLIBC_TUNABLES")}
print(json.dumps([sys.getallocatedblocks(), os.getpid(), sys.argv[1:], ours]))
"""


def run(tmp_path: Path, **environment: str) -> tuple[int, bool, list[str], dict[str, str]]:
    """Blocks of Python's own allocator, whether the process is the one that was started, arguments, variables."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, str(program), "a b", ""],
        stdout=subprocess.PIPE,
        env={"PATH": "/bin", "PYTHONPATH": str(Path(__file__).parents[3]), **environment},
    )
    out, _ = process.communicate(timeout=60)
    blocks, pid, arguments, ours = json.loads(out)
    return blocks, pid == process.pid, arguments, ours


def test_no_block_is_pythons_own(tmp_path: Path) -> None:
    """The same process, with its arguments, and nothing is left for its children to inherit."""
    assert run(tmp_path) == (0, True, ["a b", ""], {})


def test_an_administrators_choice_stays(tmp_path: Path) -> None:
    blocks, same, _, ours = run(tmp_path, PYTHONMALLOC="pymalloc")
    assert blocks > 0
    assert same
    assert ours == {"PYTHONMALLOC": "pymalloc"}


def test_tunables_of_others_stay(tmp_path: Path) -> None:
    blocks, _, _, ours = run(tmp_path, GLIBC_TUNABLES="glibc.malloc.perturb=1")
    assert blocks == 0
    assert ours["GLIBC_TUNABLES"].startswith("glibc.malloc.perturb=1:")


def test_what_cannot_be_started_again_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    monkeypatch.delenv("PYTHONMALLOC", raising=False)
    allocator.start_with_pages()
