"""docs/nri.md does what it says, with packaging/examples/nri-macvlan."""

import pytest

from tests.node.netdev.lab import Lab
from tests.node.walks import walk

pytestmark = [pytest.mark.node, pytest.mark.timeout(180)]


def test_the_page_can_be_walked(walk_lab: Lab) -> None:
    walk("nri.md", "nsenter", f"--net={walk_lab.host}")
