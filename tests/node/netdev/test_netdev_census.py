"""The count of what is left sees what it is to count."""

import pytest

from tests.node.netdev.lab import census, counted
from tests.support.isolation import ip, remove_link

pytestmark = pytest.mark.node


def test_a_link_that_stays_is_counted() -> None:
    """A link left in the tests' namespace fails the count: /sys must be that namespace's, not the machine's."""
    with pytest.raises(AssertionError, match="left-behind"), counted():
        ip("link", "add", "left-behind", "type", "ifb")
    remove_link("left-behind")
    assert "left-behind" not in census()["links"]
