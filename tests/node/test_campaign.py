"""The short form of hack/campaign: some of each part, in two minutes; its fuzzing is tests/fuzz."""

import pytest

from hack.campaigns import awaits_run, crowds, hung, kills
from hack.campaigns.table import Row, failed, render

pytestmark = [pytest.mark.node, pytest.mark.timeout(300)]


def held(rows: list[Row]) -> None:
    assert not failed(rows), render(rows)


def test_some_kills() -> None:
    """kill -9 under a load of pods with devices, restarts, execs, pulls and removals: nothing is lost or left."""
    held(kills.campaign(8, seed=11))


def test_some_await_points() -> None:
    """Points of the operations with the most steps fail and are cancelled: the retry works, nothing is left."""
    held(awaits_run.campaign(short=True))


def test_every_hung_thing() -> None:
    """Status answers, other pods live, and what hung is removed once its cause is gone."""
    held(hung.campaign(hold=0))


def test_small_crowds() -> None:
    """Status answers throughout, and memory and descriptors are back afterwards."""
    held(crowds.campaign(0.03))
