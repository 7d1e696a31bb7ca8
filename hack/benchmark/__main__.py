"""hack/bench: crishim with crun and runc beside containerd, CRI-O and the floor, in turns.

Prints a Markdown table of medians and ratios with the spread over the rounds. With --docs it goes into
docs/performance.md, with results.json and plots beside it. Takes up to a quarter of an hour, with --quick three
minutes; nothing of it is left. Nothing here is a test.
"""

import argparse
import datetime
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hack.benchmark import calls, devices, floor, plots, report, restart
from hack.benchmark.contestants import CONTAINERD, CRIO, CRUN, PEERS, Contestant, all_of, crishim, reason, running
from hack.benchmark.ground import ROOT, as_installed, load, machine, residue
from hack.benchmark.report import Results
from hack.critest import registry
from tests.support.isolation import isolate, remove_link
from tests.support.residue import BRIDGE

DOCS = ROOT / "docs"
QUICK, FULL = (2, 3, (0, 20)), (4, 8, (0, 100, 500))  # rounds, calls a round, pods at a restart
RESTARTS = 3
ENOUGH = 11 * 60  # seconds after which no more pods are made: a machine can be slow


def said(what: str, began: float) -> None:
    print(f"{time.monotonic() - began:5.0f} s, load {load()}: {what}", file=sys.stderr, flush=True)


def in_turns(results: Results, found: list[Contestant], rounds: int, times: int) -> None:
    """A B A B: each round every contestant, the order turned round in every other."""
    began = time.monotonic()
    work: list[tuple[str, Callable[[], calls.Row]]] = [(one.name, partial(round_of, one, times)) for one in found]
    work.append((floor.FLOOR_RUNC, partial(floor.round_of, "runc", times)))
    work.append((floor.FLOOR_CRUN, lambda: floor.round_of("crun", times) | devices.round_of_floor("crun", times)))
    for number in range(rounds):
        for name, measure in work if number % 2 == 0 else reversed(work):
            if name in results.absent:
                continue
            try:
                results.add(name, measure())
            except (AssertionError, OSError) as error:
                results.absent[name] = reason(error)
            said(f"round {number + 1} of {name}", began)


def round_of(one: Contestant, times: int) -> calls.Row:
    found = calls.critest(one, times) | calls.unchanged(one, times) | calls.together(one)
    return found | (devices.round_of(one, times) if one.name == CRUN else {})


def restarts(results: Results, name: str, pods: tuple[int, ...], began: float) -> None:
    """One contestant alone, more and more pods."""
    with running(crishim if name == CRUN else PEERS[name]) as daemon:
        one, there = Contestant(name, daemon, "crun" if name == CRUN else ""), 0
        for count in pods:
            if time.monotonic() - began > ENOUGH:
                results.absent[f"{restart.row(count)}: {name}"] = "no time was left"
                continue
            restart.fill(one, there, count)
            there = count
            said(f"{count} pods of {name}", began)
            for _ in range(RESTARTS):
                results.add(name, restart.restarted(one, count))
            if count == restart.MEMORY:
                time.sleep(2)
                results.add(name, restart.memory(one))


def plotted(results: Results, directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    results.write(directory / "results.json")
    middle = {
        name: {contestant: statistics.median(values) for contestant, values in by.items()}
        for name, by in results.values.items()
    }
    groups = {
        "calls": [name for name in calls.ROWS if name in middle],
        "pods": [n for n in middle if "at once" in n or "device" in n or "start with" in n or "PSS" in n],
    }
    for file, names in groups.items():
        title = "Medians in ms (PSS in MB), less is better; each group to its own scale"
        svg = plots.bars(title, {name: middle[name] for name in names}, report.COLUMNS)
        (directory / f"{file}.svg").write_text(svg)


def main() -> int:
    parser = argparse.ArgumentParser(prog="hack/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, calls, pods, and no CRI-O: three minutes")
    parser.add_argument("--docs", action="store_true", help="table, plots and results into docs/")
    parser.add_argument("--json", type=Path, help="write the results here")
    known = parser.parse_args()
    isolate()
    as_installed()
    rounds, times, pods = QUICK if known.quick else FULL
    began, before = time.monotonic(), residue()
    results = Results(
        {"date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}", "machine": machine(), "load": f"load {load()}"}
    )
    with (
        tempfile.TemporaryDirectory(prefix="cb-", dir="/dev/shm") as name,
        registry(Path(name)) as address,
        all_of([CONTAINERD] if known.quick else [CONTAINERD, CRIO], address) as (found, absent),
    ):
        results.absent |= absent
        said(", ".join(one.name for one in found), began)
        in_turns(results, found, rounds, times)
    for contestant in (CRUN, CONTAINERD):
        if contestant not in results.absent:
            restarts(results, contestant, pods, began)
    remove_link(BRIDGE)
    results.about["load"] += f" to {load()}"
    results.about["rounds"] = f"{rounds} rounds of {times} calls, {(time.monotonic() - began) / 60:.0f} minutes"
    print(report.table(results))
    if known.json:
        results.write(known.json)
    if known.docs:
        plotted(results, DOCS / "performance")
        report.into(DOCS / "performance.md", results)
    left = residue() - before
    print("nothing is left" if not left else f"{len(left)} things are left behind: {sorted(left)[:10]}")
    return int(bool(left))


if __name__ == "__main__":
    assert os.environ.get("CRISHIM_CACHE"), "run hack/bench"
    sys.exit(main())
