"""How far a device has come, and what is remembered of it."""

import pytest

from crishim.cli.page.device_states import ORDER, WRONG, steps
from crishim.cli.page.history import MOST_EVENTS, MOST_STATES, MOST_WAYS, History
from crishim.netdev.records import State
from tests.unit.cli.page.samples import change


def test_the_states_are_the_journals() -> None:
    assert {*ORDER, *WRONG} == {state.value for state in State}


@pytest.mark.parametrize(
    ("state", "seen", "standing"),
    [
        ("intent", "", "now ahead ahead ahead ahead"),
        ("ready", "", "passed passed now ahead ahead"),
        ("ready", "intent moved ready", "passed passed now ahead ahead"),
        ("returning", "ready returning", "passed passed passed now ahead"),
        ("done", "intent returning done", "passed skipped skipped passed now"),
        ("lost", "intent moved ready lost", "passed passed passed now"),
        ("down", "", "now"),
    ],
)
def test_steps(state: str, seen: str, standing: str) -> None:
    """Known from the order of the states where nobody has watched; skipped, if somebody did and did not see it."""
    found = steps(state, [(name, place + 1) for place, name in enumerate(seen.split())])
    assert " ".join(step.standing for step in found) == standing
    assert [step.state for step in found if step.standing == "now"] == [state]
    assert [step.at for step in found if step.at] == [place + 1 for place in range(len(seen.split()))]


def test_history_is_bounded() -> None:
    """Events, ways, and the states of a device that is lost and found without an end."""
    history = History()
    for number in range(2 * MOST_WAYS):
        history.add_event(str(number))
        history.add_change(change("intent", number, id=str(number)))
        history.add_change(change("lost" if number % 2 else "done", number, id="restless"))
    assert len(history.events) == MOST_EVENTS
    assert history.events[0] == str(2 * MOST_WAYS - 1)
    assert len(history.ways) == MOST_WAYS
    assert history.ways[-1].id == "restless"
    assert len(history.ways[-1].seen) == MOST_STATES
