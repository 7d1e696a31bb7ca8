"""docs/pictures/ is what hack/pictures draws now: a state that is added to a table is in the picture, or this fails."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from crishim.lifecycle import CONTAINER_TRANSITIONS, POD_TRANSITIONS
from crishim.netdev.records import TRANSITIONS
from hack.teaching.pictures import DIRECTORY, PICTURES
from hack.teaching.states import states

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", PICTURES)
def test_the_file_is_what_is_drawn(name: str) -> None:
    assert (DIRECTORY / name).read_text() == PICTURES[name](), "run hack/pictures"


def test_no_other_is_there() -> None:
    assert {p.name for p in DIRECTORY.iterdir()} == set(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_each_class_has_a_colour_for_dark_screens(name: str) -> None:
    """And everything that is drawn is inside of the picture."""
    text = PICTURES[name]()
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    light, dark = style[1].split("@media (prefers-color-scheme: dark)")
    coloured = {c for c in re.findall(r"\.([a-z]+)", light) if c not in ("title", "middle", "area", "note")}
    assert coloured <= set(re.findall(r"\.(\w+) \{", dark))
    root = ElementTree.fromstring(text)
    for box in root.iter(f"{SVG}rect"):
        assert float(box.get("x", 0)) + float(box.get("width", 0)) <= float(root.get("width", 0))
        assert float(box.get("y", 0)) + float(box.get("height", 0)) <= float(root.get("height", 0))


def test_each_transition_is_an_arrow() -> None:
    wanted = sum(map(len, [*POD_TRANSITIONS.values(), *CONTAINER_TRANSITIONS.values(), *TRANSITIONS.values()]))
    assert states().count("marker-end") == wanted
