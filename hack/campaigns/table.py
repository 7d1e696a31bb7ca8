"""What a campaign has to say: one row for each part, one table for all, and whether anything was lost or left."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Row:
    """One part of a campaign. runs: how often it was tried.

    lost: what did not survive, or did not work afterwards. left: what was there afterwards and should not be. Each
    entry is a sentence; one is enough to fail. says: what was measured.
    """

    campaign: str
    part: str
    runs: int = 0
    lost: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    says: str = ""


def render(rows: Sequence[Row]) -> str:
    """The table as Markdown, which is what docs/ wants, and below it each loss."""
    cells = [("campaign", "part", "runs", "lost", "left", "")]
    cells += [(r.campaign, r.part, f"{r.runs:,}", str(len(r.lost)), str(len(r.left)), r.says) for r in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(6)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    for row in rows:
        lines += [f"{row.campaign} {row.part}: LOST {' '.join(what.split())}" for what in row.lost]
        lines += [f"{row.campaign} {row.part}: LEFT {' '.join(what.split())}" for what in row.left]
    return "\n".join(lines)


def failed(rows: Sequence[Row]) -> bool:
    """Whether anything was lost or left, or a part had no run at all."""
    return any(r.lost or r.left or not r.runs for r in rows)
