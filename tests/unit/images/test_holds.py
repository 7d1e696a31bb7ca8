"""Holds and removals of images."""

import pytest

from crishim.errors import CrishimError, Kind
from crishim.images.holds import Holds


def test_removal_is_refused_while_used() -> None:
    """A container on record or a hold keeps an image; other images are free."""
    used = {"a"}
    uses = Holds(lambda: used)
    with pytest.raises(CrishimError) as caught, uses.removing("a"):
        pass
    assert caught.value.kind is Kind.PRECONDITION
    used.clear()
    with uses.hold("a"), uses.hold("a"):
        with pytest.raises(CrishimError), uses.removing("a"):
            pass
        with uses.removing("b"):
            pass
    with uses.removing("a"):
        pass


def test_hold_is_refused_while_removed() -> None:
    """An image whose removal has begun cannot be taken, even when one of two removals has ended."""
    uses = Holds(lambda: ())
    with uses.removing("a"):
        with uses.removing("a"):
            pass
        with pytest.raises(CrishimError) as caught, uses.hold("a"):
            pass
        assert caught.value.kind is Kind.NOT_FOUND
    with uses.hold("a"):
        pass
