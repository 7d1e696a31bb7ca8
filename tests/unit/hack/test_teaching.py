"""What hack/tour shows is the same text each time, the page takes it up, and its files are there."""

import re
from pathlib import Path

import pytest

from crishim.spec import bundle
from hack.teaching import page
from hack.teaching.normal import Names
from hack.teaching.parts import BASE, flatten, with_origins

ROOT = Path(__file__).parents[3]


def test_what_differs_has_a_name() -> None:
    names = Names(Path("/dev/shm/crishim-test-abc"))
    names.add("a" * 64, "<pod>")
    names.add(17, "<main>")
    path = f"/dev/shm/crishim-test-abc/state/pods/{'a' * 64}.json"
    shown = names.apply(f"{path} 17 170 2026-11-28T21:39:07.269986073+00:00 0a:1b:2c:3d:4e:5f")
    assert shown == "/var/lib/crishim/pods/<pod>.json <main> 170 <time> <mac>"


def test_a_page_is_renewed_where_it_is_marked() -> None:
    text = "a\n\n<!-- made: one -->\n```json\nold\n```\n\n```\nby hand\n```\n"
    assert page.outputs(text) == {"one": "old\n"}
    assert page.renewed(text, {"one": "new\nlines\n"}) == text.replace("old\n", "new\nlines\n")
    with pytest.raises(KeyError):
        page.renewed(text, {})


def test_each_part_says_who_wrote_it() -> None:
    spec = bundle.base()
    spec["process"]["args"] = ["sh"]
    assert "mounts[/proc]" in flatten(spec)
    shown = with_origins(
        spec, {"process.args": "crishim/spec/command.py process_args"}, ["process.args", "process.cwd"]
    )
    assert shown == f'process.args = ["sh"]\n    crishim/spec/command.py process_args\nprocess.cwd = "/"\n    {BASE}'


@pytest.mark.parametrize("name", ["tour.md"])
def test_the_files_a_page_names_are_there(name: str) -> None:
    """In full: `crishim/...`, `bundles/...`, `tests/...`, `hack/...`, `docs/...`."""
    text = (ROOT / "docs" / name).read_text()
    named = set(re.findall(r"`((?:crishim|bundles|tests|hack|docs)/[\w./-]+)`", text))
    assert len(named) > 20
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
