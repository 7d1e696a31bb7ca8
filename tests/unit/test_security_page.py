"""docs/security.md claims nothing without a test: each one it names is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`([\w/]+\.py)(?:::(\w+))?`")


def claims() -> list[tuple[str, str]]:
    """(file below tests/, test) for each that the page names."""
    return sorted(set(NAMED.findall((ROOT / "docs/security.md").read_text())))


@pytest.mark.parametrize(("path", "name"), claims())
def test_the_test_is_there(path: str, name: str) -> None:
    tree = ast.parse((ROOT / "tests" / path).read_text())
    assert not name or name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_has_one() -> None:
    """A row of a table "At most" without a test is a claim."""
    rows = (ROOT / "docs/security.md").read_text().partition("## The campaign")[0].split("\n")
    bare = [row for row in rows if row.startswith("| ") and row.count("|") == 3 and "At most" not in row]
    assert [row for row in bare if not NAMED.search(row)] == []
