"""What README and docs/ name is there: files, commands with their options, settings, metrics, tests."""

import re
import tomllib
from pathlib import Path

import pytest

from crishim.__main__ import _parser
from crishim.cli.command_tree import arguments, commands
from crishim.cli.default_config import described_settings
from crishim.config_files import load

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "bundles/README.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATHS = re.compile(r"(?<![\w/.~$<-])((?:crishim|tests|hack|packaging|docs|bundles|api)/[\w./-]*\w)(?![\w*{])")
TO_BE_WRITTEN = re.compile(r"NAME|name_of_it|^crishim/bundles$")  # by the reader; where pip puts bundles/
OPTIONS_OF_ALL = {"--config", "--help", "--version"}


def text(page: str) -> str:
    return (ROOT / page).read_text()


@pytest.mark.parametrize("page", PAGES)
def test_files_and_links(page: str) -> None:
    """An exercise's test is in the patch of its answer."""
    written = "\n".join(p.read_text() for p in (ROOT / "docs/exercises").glob("*.patch"))
    new = set(re.findall(r"^\+\+\+ b/(\S+)$", written, re.MULTILINE))
    named = {path for path in PATHS.findall(text(page)) if not TO_BE_WRITTEN.search(path)}
    assert {path for path in named - new if not (ROOT / path).exists()} == set()
    tests = {path.name for path in (ROOT / "tests").rglob("test_*.py")} | {path.rpartition("/")[2] for path in new}
    assert set(re.findall(r"\btest_[a-z]\w*\.py", text(page))) <= tests
    links = re.findall(r"\]\(([^)#\s]+)", text(page))
    assert [link for link in links if "://" not in link and not (ROOT / page).parent.joinpath(link).exists()] == []


def named_commands(page: str) -> list[str]:
    """What follows `crishim`, in prose and in blocks."""
    prose = re.sub(r"\s+", " ", FENCE.sub("", text(page)))
    lines = "\n".join(body for _, body in FENCE.findall(text(page)))
    return re.findall(r"`crishim ([^`]+)`", prose) + re.findall(r"^(?:[#$] )?crishim ([^#\n]+)", lines, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_commands(page: str) -> None:
    """Each is one of crishim's, with options that it has."""
    known = {command.prog.removeprefix("crishim").strip(): command for command in commands(_parser())}
    for named in named_commands(page):
        words = [w for w in re.split(r"[\s|]+", named) if re.fullmatch(r"[a-z]+", w)]
        command = known.get(" ".join(words[:2])) or known.get(words[0] if words else "")
        assert command is not None or (words and any(k.startswith(f"{words[0]} ") for k in known)), named
        options = {o for a in arguments(command) for o in a.option_strings} if command else set()
        assert set(re.findall(r"--[a-z-]+", named)) <= options | OPTIONS_OF_ALL, named


@pytest.mark.parametrize("page", PAGES)
def test_settings(page: str) -> None:
    """In backticks, with their section."""
    known = {name.partition(" ")[0] for name, _ in described_settings()}
    sections = {name.partition(".")[0] for name in known if "." in name}
    named = re.findall(r"`([a-z]+(?:\.[a-z_]+)+)[ =`]", text(page))
    new = {"network.checks_at_once"} if page == "docs/exercises.md" else set()
    assert {name for name in named if name.partition(".")[0] in sections} <= known | new


@pytest.mark.parametrize("page", PAGES)
def test_blocks_of_settings(page: str, tmp_path: Path) -> None:
    """Each block of TOML that is crishim's is a whole file of settings."""
    for number, (language, body) in enumerate(FENCE.findall(text(page))):
        if language != "toml" or "/etc/containers/" in body:
            continue
        tomllib.loads(body)
        file = tmp_path / f"{number}.toml"
        file.write_text(body)
        load(file)


def test_metrics() -> None:
    """docs/metrics.md has every metric there is."""
    code = "\n".join(p.read_text() for p in (ROOT / "crishim").rglob("*.py"))
    made = set(re.findall(r'"(crishim_[a-z_]+)"', code))
    named = set(re.findall(r"^\| `(crishim_[a-z_]+)`", text("docs/metrics.md"), re.MULTILINE))
    assert {name.removesuffix("_total") for name in named} == made  # which the client puts behind a counter's name


def test_every_page_is_in_the_index() -> None:
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= set(re.findall(r"\]\(([a-z-]+\.md)\)", text("docs/README.md")))
