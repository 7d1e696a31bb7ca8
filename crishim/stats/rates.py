"""Cores in use: CPU time since an earlier sample, divided by the time since then."""

from typing import NamedTuple

MIN_INTERVAL = 1_000_000_000  # ns; over less, one scheduler tick is a visible step


class _Sample(NamedTuple):
    at: int
    usage: int


class Rates:
    """Two samples for each key, so that clients that ask at nearly the same time do not shorten the interval."""

    def __init__(self) -> None:
        self._samples: dict[str, tuple[_Sample, _Sample]] = {}  # (base, latest)

    def nano_cores(self, key: str, at: int, usage: int, since: int) -> int:
        """The rate in billionths of a core; at the first sample, the average since `since`.

        at: when usage (ns of CPU time) was read, since: when it was 0; both ns since the epoch.
        """
        now = _Sample(at, usage)
        base, latest = self._samples.get(key) or (_Sample(min(since, at), 0), now)
        if usage < latest.usage:  # another group under the same name
            base = latest = now
        elif at - latest.at >= MIN_INTERVAL:
            base, latest = latest, now
        self._samples[key] = (base, latest)
        passed = at - base.at
        return (usage - base.usage) * 1_000_000_000 // passed if passed > 0 else 0

    def forget(self, key: str) -> None:
        """Drop the samples of a key."""
        self._samples.pop(key, None)
