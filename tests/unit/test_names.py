"""A class name says one thing in all of crishim, so that a search for it finds its definition."""

import ast
from collections import defaultdict
from pathlib import Path

import crishim

ROOT = Path(crishim.__file__).parent


def test_no_two_classes_share_a_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in ROOT.rglob("*.py"):
        if "pb" in path.relative_to(ROOT).parts:
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert len(places) > 300
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
