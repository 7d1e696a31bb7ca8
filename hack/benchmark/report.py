"""Results as a Markdown table and as JSON: medians over the rounds, their spread, and ratios to containerd."""

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hack.benchmark.calls import END, REMOVE, START, STOP
from hack.benchmark.contestants import CONTAINERD, CRIO, CRUN, RUNC
from hack.benchmark.floor import FLOOR_CRUN, FLOOR_RUNC
from hack.benchmark.restart import DAEMON, EACH, row

COLUMNS = (CONTAINERD, RUNC, CRUN, CRIO, FLOOR_RUNC, FLOOR_CRUN)
# What is to be reached: the ratio to containerd's value by contestant, or a bound in the row's own unit.
RATIOS: dict[str, dict[str, float]] = {
    START: {RUNC: 0.55, CRUN: 0.4},
    STOP: {},
    REMOVE: {},
    END: {RUNC: 0.6, CRUN: 0.6},
    "StatusContainer": {RUNC: 1.2, CRUN: 1.2},
    "StatusImage": {RUNC: 1.2, CRUN: 1.2},
    "ListImages": {RUNC: 1.2, CRUN: 1.2},
    DAEMON: {RUNC: 0.6, CRUN: 0.6},
    EACH: {RUNC: 0.35, CRUN: 0.35},
}
BOUNDS = {row(0): 400.0, row(100): 600.0, row(500): 1200.0}
MARKS = "<!-- hack/bench writes from here -->", "<!-- hack/bench writes to here -->"


@dataclass
class Results:
    """values: by row and contestant, one value a round. absent: who could not be had, and why."""

    about: dict[str, str]
    absent: dict[str, str] = field(default_factory=dict)
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, contestant: str, found: Mapping[str, float]) -> None:
        for name, value in found.items():
            self.values.setdefault(name, {}).setdefault(contestant, []).append(value)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def read(path: Path) -> Results:
    return Results(**json.loads(path.read_text()))


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values: list[float]) -> str:
    """Median, and the least and the greatest round."""
    if not values:
        return ""
    low, high = number(min(values)), number(max(values))
    return number(statistics.median(values)) + (f" ({low} to {high})" if low != high else "")


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Round by round, as neighbours saw the same machine."""
    return [a / b for a, b in zip(ours, theirs, strict=False) if b]


def is_behind(name: str, contestant: str, found: list[float]) -> bool:
    """Whether every round missed what is wanted: outside of the spread, that is."""
    return bool(found) and min(found) > RATIOS.get(name, {}).get(contestant, 1.0)


def ratio_cell(name: str, contestant: str, values: dict[str, list[float]]) -> str:
    found = ratios(values.get(contestant, []), values.get(CONTAINERD, []))
    if not found:
        return ""
    text = f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"
    return f"**{text}**" if is_behind(name, contestant, found) else text


def wanted(name: str) -> str:
    if name in BOUNDS:
        return f"{BOUNDS[name]:.0f} ms"
    goals = RATIOS.get(name)
    if not goals:
        return "1.0"
    return f"{goals[RUNC]}" + (f", {goals[CRUN]}" if goals[CRUN] != goals[RUNC] else "")


def table(results: Results) -> str:
    """Columns that have a value; of the ratios those that miss what is wanted in each round are bold."""
    columns = [c for c in COLUMNS if any(c in by for by in results.values.values())]
    heads = [*columns, "runc / containerd", "crun / containerd", "to reach"]
    lines = ["| ms | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for name, values in results.values.items():
        cells = [spread(values.get(column, [])) for column in columns]
        cells += [ratio_cell(name, contestant, values) for contestant in (RUNC, CRUN)]
        lines.append(
            f"| {name} | " + " | ".join([*cells, wanted(name) if CONTAINERD in values or name in BOUNDS else ""]) + " |"
        )
    lines += [f"\n{name} could not be measured: {why}" for name, why in results.absent.items()]
    return "\n".join(lines)


def put(page: Path, marks: tuple[str, str], content: str) -> None:
    """Put a text between the marks of a page, in the place of what is there."""
    head, _, rest = page.read_text().partition(marks[0])
    _, mark, tail = rest.partition(marks[1])
    assert mark, f"{page} has no {marks[0]}"
    page.write_text(f"{head}{marks[0]}\n\n{content}\n\n{marks[1]}{tail}")


def into(page: Path, results: Results) -> None:
    """Put the table between the marks of a page."""
    put(page, MARKS, f"{', '.join(results.about.values())}\n\n{table(results)}")
