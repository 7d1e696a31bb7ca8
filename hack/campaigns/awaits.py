"""Every await point of every operation fails once and is cancelled once; then a retry works, and nothing is left.

The points are not chosen: tests/faults/awaits counts them in the daemon while the operation runs. What is suspended
gets the error in place of its result, or is cancelled; what is about to touch the kernel fails with each of ERRORS
before it did anything. An operation's points are gone through by number until one run of it has fewer. A line that an
operation passes often gets each of ERRORS over these times, not each time.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from hack.campaigns.ground import ROOT
from hack.campaigns.table import Row
from tests.support.daemon import Daemon, eventually
from tests.support.residue import left_behind, named

ERRORS = ("ENOSPC", "EIO", "EMFILE", "ENOMEM")
FAULTS_OF = {"await": ("cancel", "EIO"), "kernel": ERRORS}
NO_POINTS = "it waits for nothing"
MOST = 400  # points of one operation; more is an operation that never ends


class FaultyDaemon(Daemon):
    """A daemon whose await points can be counted and made to fail."""

    def __init__(self, directory: Path, settings: dict[str, Any] | None = None) -> None:
        super().__init__(directory, settings)
        self.faults = directory / "faults"
        self.faults.mkdir()

    def launch(self) -> int:
        own = {
            "PYTHONPATH": f"{ROOT / 'tests/faults/awaits'}{os.pathsep}{ROOT}",
            "CRISHIM_AWAITS": str(self.faults),
        }
        before = {key: os.environ.get(key) for key in own}
        os.environ.update(own)
        try:
            return super().launch()
        finally:
            for key, value in before.items():
                os.environ.pop(key, None)
                if value is not None:
                    os.environ[key] = value

    def arm(self, operation: str, kind: str, point: int, fault: str) -> None:
        """The next such operation fails at a point; 0 is none."""
        (self.faults / "done").unlink(missing_ok=True)
        wanted = {"operation": operation, "kind": kind, "point": point, "fault": fault}
        (self.faults / "arm.tmp").write_text(json.dumps(wanted))
        (self.faults / "arm.tmp").rename(self.faults / "arm")

    def disarm(self) -> None:
        (self.faults / "arm").unlink(missing_ok=True)

    def seen(self) -> dict[str, Any]:
        """The points of the armed operation, once it has ended."""
        done = self.faults / "done"
        eventually(done.exists, f"the armed operation ends; armed: {(self.faults / 'arm').exists()}", 60)
        found: dict[str, Any] = json.loads(done.read_text())
        return found

    def descriptors(self) -> int:
        assert self.process is not None
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


class Broken(Exception):
    """A call that is no RPC did not do what it should."""


class Scenario:
    """One operation: what has to be there, the call, what holds afterwards, and how all of it goes away."""

    operation = ""
    part = ""

    def __init__(self, daemon: FaultyDaemon) -> None:
        self.daemon = daemon

    def prepare(self) -> None:
        """Everything before the call."""

    def call(self) -> None:
        """The call; repeated, it must work."""
        raise NotImplementedError

    def check(self) -> None:
        """What holds after a call that worked. Raises AssertionError."""

    def clean(self) -> None:
        """Take away everything, whatever of it is there."""


def campaign(scenario: Scenario, *, every: int = 1, most: int = MOST) -> Row:
    """Go through the points of a scenario; every: only each n-th of them, for a short run."""
    daemon = scenario.daemon
    row = Row("awaits", scenario.part or scenario.operation, says=NO_POINTS)
    warm = _try(scenario, "await", 0, "cancel", row, None)  # first of all without a fault: what is made once is made
    before = daemon.left()
    base = daemon.descriptors()
    warm = _try(scenario, "await", 0, "cancel", row, before) or warm
    counted = {kind: len(warm.get(kind, ())) for kind in FAULTS_OF}
    done: dict[str, int] = {}  # how often each place was hit
    told = _tell(row, 0)
    for kind in FAULTS_OF:
        for number in range(1, most, every):
            hits = 0
            for fault in _wanted(kind, done, warm, number):
                seen = _try(scenario, kind, number, fault, row, before)
                counted[kind] = max(counted[kind], len(seen.get(kind, ())))
                if place := seen.get("hit"):
                    hits += 1
                    done[f"{kind} {place}"] = done.get(f"{kind} {place}", 0) + 1
                told = _tell(row, told)
            if (number > counted[kind] and not hits) or told > 30:
                break
    daemon.disarm()
    _settled(lambda: daemon.descriptors() <= base + 4)
    if daemon.descriptors() > base + 4:
        row.left.append(f"{daemon.descriptors() - base} descriptors of the daemon")
    if any(counted.values()) or row.lost or row.left:
        row.says = f"{counted['await']} await points, {counted['kernel']} of the kernel, at {len(done)} places"
    return row


def _wanted(kind: str, done: dict[str, int], counted: dict[str, Any], number: int) -> tuple[str, ...]:
    """The faults a point is to have: all of them if its line was not hit yet, else the next one."""
    faults = FAULTS_OF[kind]
    places = counted.get(kind, [])
    times = done.get(f"{kind} {places[number - 1]}", 0) if 0 < number <= len(places) else 0
    return faults if kind == "await" or not times else (faults[times % len(faults)],)


def _tell(row: Row, told: int) -> int:
    """Print what was found since the last time."""
    found = [*row.lost, *row.left]
    for what in found[told:] if len(found) > told else ():
        print(f"  {row.part}: {' '.join(what.split())}", flush=True)
    return len(found)


def _try(
    scenario: Scenario, kind: str, point: int, fault: str, row: Row, before: dict[str, set[str]] | None
) -> dict[str, Any]:
    """One run with one fault; the points that were seen."""
    what = f"point {point} ({kind}, {fault})"
    if os.environ.get("CAMPAIGN_TRACE"):
        print(f"  {scenario.part} {what}", flush=True)
    seen: dict[str, Any] = {}
    try:
        scenario.prepare()
        scenario.daemon.arm(scenario.operation, kind, point, fault)
        with contextlib.suppress(grpc.RpcError, Broken) if point else contextlib.nullcontext():
            scenario.call()
        seen = scenario.daemon.seen()
        what += f" at {seen['hit']}"
        if point and seen["hit"]:
            row.runs += 1
        scenario.call()
        scenario.check()
    except grpc.RpcError as error:
        row.lost.append(f"{what}: {error.code().name}: {error.details()}")
    except (AssertionError, Broken) as error:
        row.lost.append(f"{what}: {str(error)[:300]}")
    finally:
        scenario.daemon.disarm()
        row.lost += [f"{what}: {said}" for said in _cleaned(scenario)]
    if before is not None:
        new = left_behind(scenario.daemon.left, before, 5)
        row.left += [f"{what}: {thing}" for thing in named(new)]
        for kind_left, things in new.items():
            before[kind_left] |= things  # told once
    return seen


def _cleaned(scenario: Scenario) -> Iterator[str]:
    try:
        scenario.clean()
    except (grpc.RpcError, AssertionError) as error:
        yield f"it cannot be taken away: {' '.join(str(error).split())[:300]}"


def _settled(condition: Any, timeout: float = 10.0) -> None:
    until = time.monotonic() + timeout
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
