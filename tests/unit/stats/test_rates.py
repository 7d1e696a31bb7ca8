"""Cores in use now."""

from crishim.stats.rates import Rates

SECOND = 1_000_000_000
BORN = 100 * SECOND


def at(seconds: float) -> int:
    return BORN + int(seconds * SECOND)


def test_the_first_answer_is_the_average_since_the_start() -> None:
    """Half a core for ten seconds is half a core, seen for the first time or not."""
    assert Rates().nano_cores("c", at(10), 5 * SECOND, BORN) == SECOND // 2


def test_later_answers_are_about_the_time_since_the_last() -> None:
    """Two cores since the last question are two cores, whatever was before."""
    rates = Rates()
    rates.nano_cores("c", at(10), 5 * SECOND, BORN)
    assert rates.nano_cores("c", at(20), 25 * SECOND, BORN) == 2 * SECOND
    assert rates.nano_cores("c", at(30), 25 * SECOND, BORN) == 0


def test_clients_that_ask_at_once_do_not_spoil_the_interval() -> None:
    """A question right after another is answered over the longer interval, not over a few milliseconds."""
    rates = Rates()
    rates.nano_cores("c", at(10), 10 * SECOND, BORN)
    assert rates.nano_cores("c", at(20), 20 * SECOND, BORN) == SECOND
    assert rates.nano_cores("c", at(20.01), 20 * SECOND + 10_000_000, BORN) == SECOND
    assert rates.nano_cores("c", at(20.02), 20 * SECOND + 10_000_000, BORN) < SECOND


def test_a_counter_that_went_back_starts_anew() -> None:
    """A pod's cgroup may be removed and made again; no rate is negative."""
    rates = Rates()
    rates.nano_cores("p", at(10), 10 * SECOND, BORN)
    assert rates.nano_cores("p", at(20), SECOND, BORN) == 0
    assert rates.nano_cores("p", at(30), 11 * SECOND, BORN) == SECOND


def test_what_is_forgotten_starts_anew() -> None:
    """After forget() the next answer is an average since the start again."""
    rates = Rates()
    rates.nano_cores("c", at(10), 0, BORN)
    rates.forget("c")
    assert rates.nano_cores("c", at(20), 20 * SECOND, BORN) == SECOND


def test_no_time_has_passed() -> None:
    """A clock that was set back gives 0, not an error."""
    assert Rates().nano_cores("c", at(-5), SECOND, BORN) == 0
