"""How far a network device has come on its way into a pod and back (netdev/records.py has the states). Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

ORDER = ("intent", "moved", "ready", "returning", "done")
WRONG = frozenset({"lost", "down"})


class Step(NamedTuple):
    """standing: "passed", "now", "skipped" or "ahead". at: ns since the epoch; 0: nobody saw when."""

    state: str
    standing: str
    at: int


class Way(NamedTuple):
    """One way of one device. seen: its states in the order they came, with the time of each in ns since the epoch."""

    id: str
    host_name: str
    name: str
    pod_id: str
    pod: str
    seen: tuple[tuple[str, int], ...]

    @property
    def state(self) -> str:
        return self.seen[-1][0]

    @property
    def is_over(self) -> bool:
        return self.state == "done"


def steps(state: str, seen: Sequence[tuple[str, int]]) -> list[Step]:
    """The whole way of a device that is in a state now. What was not seen is told from the order of the states."""
    times = dict(seen)
    if state not in ORDER:
        passed = [Step(name, "passed", at) for name, at in seen if name != state]
        return [*passed, Step(state, "now", times.get(state, 0))]
    return [_step(place, name, ORDER.index(state), times) for place, name in enumerate(ORDER)]


def _step(place: int, name: str, now: int, times: Mapping[str, int]) -> Step:
    at = times.get(name, 0)
    if place >= now:
        return Step(name, "now" if place == now else "ahead", at if place == now else 0)
    was_watched = ORDER[0] in times  # from the beginning on, so that what is missing did not happen
    return Step(name, "skipped" if was_watched and not at else "passed", at)
