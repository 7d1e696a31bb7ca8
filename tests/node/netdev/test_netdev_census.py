"""The count of what is left sees what it is to count."""

import socket

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


def test_a_socket_that_stays_is_counted() -> None:
    """Also where another one, which was there before, is closed meanwhile; that one alone is no loss."""
    with socket.socket() as earlier, counted():
        earlier.close()
    made: list[socket.socket] = []

    def replace(other: socket.socket) -> None:
        with counted():
            made.append(socket.socket())
            other.close()

    with socket.socket() as earlier, pytest.raises(AssertionError, match="socket:"):
        replace(earlier)
    made[0].close()
