"""crishim/cri/stream/tokens.py"""

import re

import pytest

from crishim.cri.stream.tokens import LIFETIME, MOST, MOST_BYTES, Tokens
from crishim.errors import CrishimError, Kind


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.fact("Exec", "Attach", "PortForward")
def test_a_token_is_good_once() -> None:
    """A token gives its request the first time and nothing the second."""
    tokens: Tokens[str] = Tokens()
    token = tokens.issue("request")
    assert re.fullmatch(r"[A-Za-z0-9_-]{8}", token)
    assert tokens.redeem("x" * 8) is None
    assert tokens.redeem(token) == "request"
    assert tokens.redeem(token) is None


@pytest.mark.fact("reference behaviour")
def test_a_token_expires() -> None:
    """A token is good for a minute and not longer."""
    clock = Clock()
    tokens: Tokens[str] = Tokens(clock)
    first, second = tokens.issue("first"), tokens.issue("second")
    clock.now += LIFETIME - 1
    assert tokens.redeem(first) == "first"
    clock.now += 2
    assert tokens.redeem(second) is None


@pytest.mark.fact("reference behaviour")
def test_only_so_many_wait() -> None:
    """The thousand-and-first is refused until one is used or expires."""
    clock = Clock()
    tokens: Tokens[int] = Tokens(clock)
    issued = [tokens.issue(n) for n in range(MOST)]
    assert len(set(issued)) == MOST
    with pytest.raises(CrishimError) as caught:
        tokens.issue(0)
    assert caught.value.kind is Kind.EXHAUSTED
    assert tokens.redeem(issued[5]) == 5
    tokens.issue(0)
    clock.now += LIFETIME + 1
    tokens.issue(1)


def test_only_so_many_bytes_wait() -> None:
    """Long commands are bounded together; room comes back with each token that is used or expires."""
    clock = Clock()
    tokens: Tokens[int] = Tokens(clock)
    first, *_ = (tokens.issue(n, MOST_BYTES // 4) for n in range(4))
    with pytest.raises(CrishimError) as caught:
        tokens.issue(0, 1)
    assert caught.value.kind is Kind.EXHAUSTED
    assert tokens.redeem(first) == 0
    tokens.issue(0, MOST_BYTES // 4)
    clock.now += LIFETIME + 1
    tokens.issue(0, MOST_BYTES)
