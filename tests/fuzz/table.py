"""The parsers that are fuzzed: a name, and a function of bytes that must return.

A target raises nothing but what it found: the parser's own errors are caught in it, and what the parser promises is
asserted. Each module targets_*.py beside this one has a table TARGETS; corpus/NAME/ has inputs of each, those that
once broke it among them.
"""

import importlib
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
Target = Callable[[bytes], None]


def targets() -> dict[str, Target]:
    """All of them, by name."""
    found: dict[str, Target] = {}
    for path in sorted(HERE.glob("targets_*.py")):
        for name, target in importlib.import_module(f"tests.fuzz.{path.stem}").TARGETS.items():
            assert name not in found, f"two fuzz targets are called {name}"
            found[name] = target
    return found


def corpus(name: str) -> list[bytes]:
    """The inputs kept for a target, in the order of their names."""
    return [path.read_bytes() for path in sorted((HERE / "corpus" / name).glob("*"))]
