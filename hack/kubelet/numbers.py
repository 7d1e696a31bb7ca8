"""Numbers of a node under a kubelet, beside containerd's: how long pods take, and what the runtime's part of it is.

Both runtimes get the same kubelet, network, image and OCI runtime. Rounds alternate between them, each trial on a fresh
node; what is printed is the median over the rounds. The kubelet's histograms have coarse buckets (the first of an
operation ends at 5 ms, of a pod's start at 500 ms): below that only the mean tells two runtimes apart. A run without
arguments takes about ten minutes. Nothing here is a test.
"""

import argparse
import signal
import statistics
import sys
import time

from hack.kubelet.trial import Contestant, Figures, trial

OURS, PEER = Contestant("crishim", "runc"), Contestant("containerd", "runc")
# Its default. Debian 12's crun is too old for containerd 2.4: "unknown version specified", of the runtime spec's 1.3.
DEFAULT = Contestant("crishim", "crun")
COLUMNS = ("p50", "p99", "mean")
WIDTH = 34


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="hack/node numbers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pods", nargs="*", type=int, default=[10, 30, 50, 100], help="how many at once, each in turn")
    parser.add_argument("--alone", action="store_true", help="without containerd")
    parser.add_argument("--crun", action="store_true", help="crishim with crun, its default, as a further column")
    parser.add_argument("--rounds", type=int, default=3)
    known = parser.parse_args(arguments)
    contestants = [OURS] + [PEER] * (not known.alone) + [DEFAULT] * known.crun
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clean up, as at Ctrl-C
    started = time.monotonic()
    behind = []
    for count in known.pods:
        rounds: dict[Contestant, list[Figures]] = {contestant: [] for contestant in contestants}
        for number in range(known.rounds):
            for contestant in contestants if number % 2 == 0 else reversed(contestants):
                rounds[contestant].append(trial(contestant, count, rest=count == max(known.pods)))
        middle = {contestant: medians(found) for contestant, found in rounds.items()}
        print("\n".join(table(f"{count} pods", middle)), flush=True)
        if PEER in middle:
            behind += [f"{count} pods, {line}" for line in not_ahead(middle[OURS], middle[PEER])]
    print(f"\n{known.rounds} rounds, {(time.monotonic() - started) / 60:.0f} minutes")
    if not known.alone:
        print("crishim is not ahead:\n" + "\n".join(f"  {line}" for line in behind or ["nowhere"]))


def medians(rounds: list[Figures]) -> Figures:
    """Value by value, over the rounds that have it."""
    rows = dict.fromkeys(row for figures in rounds for row in figures)
    return {
        row: {
            column: statistics.median(figures[row][column] for figures in rounds if row in figures)
            for column in next(figures[row] for figures in rounds if row in figures)
        }
        for row in rows
    }


def table(title: str, found: dict[Contestant, Figures]) -> list[str]:
    """One line for each row, the runtimes side by side."""
    lines = [f"\n{title:{WIDTH}}" + "".join(f"{contestant!s:>27}" for contestant in found)]
    lines.append(" " * WIDTH + "".join(f"{column:>9}" for _ in found for column in COLUMNS))
    for row in dict.fromkeys(row for figures in found.values() for row in figures):
        cells = "".join(_cells(figures.get(row, {})) for figures in found.values())
        lines.append(f"{row:{WIDTH}}{cells}".rstrip())
    return lines


def _cells(values: dict[str, float]) -> str:
    if "" in values:
        return f"{values['']:27.1f}"
    return "".join(f"{values[column]:9.1f}" if column in values else " " * 9 for column in COLUMNS)


def not_ahead(ours: Figures, theirs: Figures) -> list[str]:
    """Where crishim's value is the larger one, as it would be printed."""
    return [
        f"{row}{f' {column}' if column else ''}: {value:.1f}, containerd {theirs[row][column]:.1f}"
        for row, columns in ours.items()
        for column, value in columns.items()
        if column in theirs.get(row, {}) and round(value, 1) > round(theirs[row][column], 1)
    ]
