"""What earlier runs found, so that a run does only what has changed: below ~/.cache/crishim, never in the tree.

A test's trace holds while the test's file and every function it ran are the same; that a test notices a mutant, while
the test's file and the mutated function are; that none does, while the tests that reach it are the same.
"""

import ast
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hack.mutation.operators import functions

PLACE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "crishim/mutation.jsonl"
ROOT = Path(__file__).parents[2]


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class Function(NamedTuple):
    first: int
    last: int
    digest: str


@cache
def functions_of(path: Path) -> dict[str, Function]:
    """By qualified name."""
    source = path.read_text()
    lines = source.splitlines()
    return {
        name: Function(node.lineno, node.end_lineno or 0, digest(*lines[node.lineno - 1 : node.end_lineno]))
        for node, name in functions(ast.parse(source))
    }


@cache
def test_digest(path: Path) -> str:
    """Of a test file and what stands beside it that is no test: the fixtures."""
    beside = sorted(p for p in path.parent.glob("*.py") if not p.name.startswith("test_"))
    return digest(*(p.read_text() for p in [path, *beside]))


class Memory:
    """Records by kind and key; the last one of a key counts. Several runs may add to it at once."""

    def __init__(self, place: Path = PLACE) -> None:
        self._place = place
        self._known: dict[str, dict[str, Any]] = defaultdict(dict)
        if place.exists():
            for line in place.read_text().splitlines():
                kind, key, value = json.loads(line)
                self._known[kind][key] = value
            self._tidy()

    def get(self, kind: str, key: str) -> Any:
        return self._known[kind].get(key)

    def put(self, kind: str, key: str, value: Any) -> None:
        self._known[kind][key] = value
        self._place.parent.mkdir(parents=True, exist_ok=True)
        with self._place.open("a") as file:
            file.write(json.dumps([kind, key, value]) + "\n")  # one write: O_APPEND keeps lines whole

    def _tidy(self) -> None:
        if self._place.stat().st_size < 64 << 20:
            return
        fresh = self._place.with_suffix(f".{os.getpid()}")
        rows = [[kind, key, value] for kind, found in self._known.items() for key, value in found.items()]
        fresh.write_text("".join(json.dumps(row) + "\n" for row in rows))
        fresh.rename(self._place)


def relative(lines: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """(file, line) as lines of functions: place() -> lines, counted from the function's first."""
    found: dict[str, list[int]] = defaultdict(list)
    for file, line in sorted(lines):
        for name, function in functions_of(Path(file)).items():
            if function.first <= line <= function.last:
                found[place(Path(file), name)].append(line - function.first)
    return dict(found)


def place(path: Path, function: str) -> str:
    """What a function is known by in any copy of the repository: "crishim/netdev/transaction.py:mark"."""
    return f"{path.relative_to(ROOT)}:{function}"


def function_digest(place: str) -> str:
    """Of what is there now, "" if nothing is."""
    file, _, name = place.rpartition(":")
    path = ROOT / file
    function = functions_of(path).get(name) if path.exists() else None
    return function.digest if function else ""
