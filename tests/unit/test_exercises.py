"""docs/exercises.md against the code of today: each test fails without its answer and passes with it."""

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.timeout(300)  # two runs of pytest: seconds each, where nothing else runs
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/exercises.md"
BEFORE = {"rpc": ROOT / "docs/exercises/rpc-taken-away.patch"}  # what is applied first, by exercise
SECTION = re.compile(r"^## [1-8]\. .*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
NEEDED = ("crishim", "bundles", "tests/unit", "tests/support")


class Exercise(NamedTuple):
    name: str
    files: list[str]  # to open
    test: str
    patch: Path


def exercises() -> list[Exercise]:
    found = []
    for section in SECTION.findall(PAGE.read_text()):
        (opened,), (test,), (name,) = (
            re.findall(pattern, section, re.MULTILINE)
            for pattern in (r"^- Open: (.+)$", r"^- Test: `([^`]+)`$", r"^- Answer: \[([a-z-]+)\.patch\]")
        )
        files = re.findall(r"`([^`]+/[^`]+)`", opened)
        found.append(Exercise(name, files, test, ROOT / f"docs/exercises/{name}.patch"))
    return found


EXERCISES = exercises()


def apply(tree: Path, patch: Path, *options: str) -> None:
    """git apply in a tree that is no repository."""
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(tree.parent)}
    command = ["git", "apply", *options, str(patch)]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{patch.name} no longer fits: {done.stderr}"


def outcomes(tree: Path) -> dict[str, set[str]]:
    """By exercise, how its tests ended: "passed", "failure", "error"."""
    report = tree / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | {
        "PYTHONPATH": str(tree),
        "PYTHONPYCACHEPREFIX": str(tree / "compiled"),
    }
    subprocess.run(
        [*command, *(e.test for e in EXERCISES)],
        cwd=tree,
        env=environment,
        capture_output=True,
        timeout=140,
        check=False,
    )
    found: dict[str, set[str]] = {e.name: set() for e in EXERCISES}
    for case in xml.parse(report).iter("testcase"):
        where = (case.get("classname") or case.get("name") or "").replace(".", "/")
        for exercise in EXERCISES:
            if where.startswith(exercise.test.removesuffix(".py")):
                found[exercise.name].add(next((child.tag for child in case), "passed"))
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the tests need, as each exercise begins."""
    copy = tmp_path_factory.mktemp("exercises")
    for name in NEEDED:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy2(ROOT / name, copy / name)
    for patch in BEFORE.values():
        apply(copy, patch)
    return copy


def test_the_page() -> None:
    """Eight exercises; the files to open are there, the tests come with the answers, and no two change one file."""
    assert len(EXERCISES) == 8
    patches = {e.patch for e in EXERCISES} | set(BEFORE.values())
    assert patches == set((ROOT / "docs/exercises").iterdir())
    changed: list[str] = []
    for exercise in EXERCISES:
        assert 2 <= len(exercise.files) <= 4, exercise.name
        for name in exercise.files:
            assert (ROOT / name).is_file(), f"{exercise.name}: {name}"
        touched = re.findall(r"^diff --git a/(\S+) b/\1$", exercise.patch.read_text(), re.MULTILINE)
        assert [name for name in touched if name.startswith("tests/")] == [exercise.test]
        changed += touched
    assert len(changed) == len(set(changed))


def test_red_then_green(tree: Path) -> None:
    """With the tests alone every exercise fails; with the answers, which have no file in common, none does."""
    for exercise in EXERCISES:
        apply(tree, exercise.patch, "--check")
    for exercise in EXERCISES:
        apply(tree, exercise.patch, "--include=tests/*")
    for name, ended in outcomes(tree).items():
        assert "failure" in ended, f"{name}: its test passes without the answer, or cannot be run: {ended}"
    for exercise in EXERCISES:
        apply(tree, exercise.patch, "--exclude=tests/*")
    assert outcomes(tree) == {e.name: {"passed"} for e in EXERCISES}
