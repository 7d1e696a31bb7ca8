"""The states of a network device from attaching to return, as steps (states: netdev/records.py). Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

ORDER = ("intent", "moved", "ready", "returning", "done")
WRONG = frozenset({"lost", "down"})


class Step(NamedTuple):
    """standing: "passed", "now", "skipped" or "ahead". at: ns since the epoch, 0 if not known."""

    state: str
    standing: str
    at: int


class AttachmentHistory(NamedTuple):
    """One attachment of a device. seen: its states in order, with the time of each in ns since the epoch."""

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
    """All steps of a device in a state. Those that were not seen are derived from the order of the states."""
    times = dict(seen)
    if state not in ORDER:
        passed = [Step(name, "passed", at) for name, at in seen if name != state]
        return [*passed, Step(state, "now", times.get(state, 0))]
    return [_step(place, name, ORDER.index(state), times) for place, name in enumerate(ORDER)]


def _step(place: int, name: str, now: int, times: Mapping[str, int]) -> Step:
    at = times.get(name, 0)
    if place >= now:
        return Step(name, "now" if place == now else "ahead", at if place == now else 0)
    was_watched = ORDER[0] in times  # since its first state: a state that was not seen did not occur
    return Step(name, "skipped" if was_watched and not at else "passed", at)
