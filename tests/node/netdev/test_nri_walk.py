"""docs/nri.md does what it says, with packaging/examples/nri-macvlan."""

from collections.abc import Callable

import pytest

from tests.node.netdev.lab import Lab
from tests.node.walks import paste, walk

pytestmark = [pytest.mark.node, pytest.mark.timeout(180)]


@pytest.mark.parametrize("way", [walk, paste])
def test_the_page_can_be_walked(walk_lab: Lab, way: Callable[..., str]) -> None:
    way("nri.md", "nsenter", f"--net={walk_lab.host}")
