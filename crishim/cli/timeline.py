"""Render a pod's start as a timeline: text for a terminal, SVG for a page. Pure."""

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from crishim.cli.client import plain
from crishim.pb import admin_pb2 as admin

BAR = 40  # characters
_EIGHTHS = " ▏▎▍▌▋▊▉"
_ROW, _NAMES, _BARS, _TIMES = 22, 260, 560, 190  # pixels: the height of a row, the widths of its parts
_STYLE = """
text { font: 12px ui-monospace, monospace; fill: #1f2328 } .faint { fill: #656d76 }
rect { fill: #8cb4e8 } rect.call { fill: #2f6fbf } rect.failed { fill: #c0392b } rect.paper { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .faint { fill: #9198a1 }
  rect { fill: #35588a } rect.call { fill: #58a6ff } rect.failed { fill: #ff7b72 } rect.paper { fill: #0d1117 }
}
"""


class TimelineRow(NamedTuple):
    """depth: nesting. at, ns: its start after the first call's, and its duration, in ns.

    left, width: of its bar, as fractions of the whole. failure: gRPC's code, "" if it succeeded.
    """

    name: str
    depth: int
    at: int
    ns: int
    left: float
    width: float
    failure: str = ""


def rows(start: admin.PodStart) -> list[TimelineRow]:
    """Calls in the order they began, each followed by its spans. The bars leave out time in which no call ran."""
    calls = sorted(start.calls, key=lambda call: call.began)
    if not calls:
        return []
    busy = _Busy([(call.began, call.ended) for call in calls])
    found = []
    for call in calls:
        found.append(_row(call.rpc, 0, (call.began, call.ended), busy, "" if call.code == "OK" else call.code))
        found += [_row(s.name, depth, (s.began, s.ended), busy) for s, depth in _nested(call, call.id, 1)]
    return found


def text(start: admin.PodStart) -> str:
    """The timeline as text."""
    found = rows(start)
    width = max((len(row.name) + 2 * row.depth for row in found), default=0)
    lines = [plain(f"{start.pod} {start.pod_sandbox_id[:13]}")]
    for row in found:
        name = plain("  " * row.depth + row.name)
        times = f"{_ms(row.at):>12} {_ms(row.ns):>10}"
        lines.append(f"{name:{width}} {times}  {_bar(row)} {plain(row.failure)}".rstrip())
    return "\n".join(lines) + "\n"


def svg(start: admin.PodStart) -> str:
    """The timeline as SVG, for light and dark pages."""
    found = rows(start)
    width, height = _NAMES + _BARS + _TIMES, _ROW * (len(found) + 2)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    title = _escaped(f"{start.pod} {start.pod_sandbox_id[:13]}")
    lines = [head, f"<title>{title}</title>", f"<style>{_STYLE}</style>"]
    lines += [f'<rect class="paper" width="{width}" height="{height}"/>', f'<text x="8" y="16">{title}</text>']
    for number, row in enumerate(found, 1):
        y = number * _ROW + 4
        kind = "failed" if row.failure else "step" if row.depth else "call"
        left, bar = _NAMES + row.left * _BARS, max(row.width * _BARS, 1)
        times = _escaped(f"{_ms(row.ns)}  at {_ms(row.at)} {row.failure}".strip())
        lines.append(f'<text x="{8 + 14 * row.depth}" y="{y + 14}">{_escaped(row.name)}</text>')
        lines.append(f'<rect class="{kind}" x="{left:.1f}" y="{y + 3}" width="{bar:.1f}" height="{_ROW - 8}" rx="2"/>')
        lines.append(f'<text class="faint" x="{_NAMES + _BARS + 10}" y="{y + 14}">{times}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


class _Busy:
    """A time axis without the gaps in which no call ran."""

    def __init__(self, calls: list[tuple[int, int]]) -> None:
        self._stretches: list[list[int]] = []
        for began, ended in calls:
            if self._stretches and began <= self._stretches[-1][1]:
                self._stretches[-1][1] = max(self._stretches[-1][1], ended)
            else:
                self._stretches.append([began, max(ended, began)])
        self.first = self._stretches[0][0]
        self._whole = max(sum(ended - began for began, ended in self._stretches), 1)

    def part(self, moment: int) -> float:
        """The position of a moment on the axis, 0 to 1."""
        passed = sum(min(max(moment - began, 0), ended - began) for began, ended in self._stretches)
        return passed / self._whole


def _row(name: str, depth: int, time: tuple[int, int], busy: _Busy, failure: str = "") -> TimelineRow:
    left = busy.part(time[0])
    return TimelineRow(name, depth, time[0] - busy.first, time[1] - time[0], left, busy.part(time[1]) - left, failure)


def _nested(call: admin.TracedCall, parent: int, depth: int) -> Iterator[tuple[admin.TracedCall.Span, int]]:
    for span in sorted((s for s in call.spans if s.parent == parent), key=lambda s: s.began):
        yield span, depth
        yield from _nested(call, span.id, depth + 1)


def _bar(row: TimelineRow) -> str:
    start, eighths = int(row.left * BAR), max(round(row.width * BAR * 8), 1)
    return " " * min(start, BAR - 1) + "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _ms(ns: int) -> str:
    return f"{ns / 1e6:.1f} ms" if abs(ns) < 10_000_000_000 else f"{ns / 1e9:.0f} s"


def _escaped(text: str) -> str:
    return escape(plain(text))
