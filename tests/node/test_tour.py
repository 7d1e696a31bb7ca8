"""docs/tour.md shows what a pod, a container and a device leave on a node: the same as in a run of today."""

from pathlib import Path

import pytest

from hack.teaching import page
from hack.teaching.play import play

pytestmark = pytest.mark.node
PAGE = Path(__file__).parents[2] / "docs/tour.md"


def test_the_page_has_the_outputs_of_a_run(busybox_archive: Path) -> None:
    """Each of them, and no other; `hack/tour --write` renews them."""
    made = play(busybox_archive)
    written = page.outputs(PAGE.read_text())
    assert set(written) == set(made)
    for name, text in made.items():
        assert written[name] == text, f"{name}: hack/tour --write"
