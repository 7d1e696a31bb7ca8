"""SVG plots without a library: horizontal bars in groups, and lines. Text takes the reader's colour, light or dark."""

from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#8c959f", "#0969da", "#54aeff", "#bf8700", "#57606a", "#afb8c1")
STYLE = """<style>
svg { color: #1f2328; font: 12px sans-serif }
@media (prefers-color-scheme: dark) { svg { color: #e6edf3 } }
text { fill: currentColor } line, path { stroke: currentColor }
</style>"""
WIDTH, LABEL, BAR, GAP = 760, 300, 11, 10


def document(width: int, height: int, parts: Sequence[str], title: str) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    return "\n".join([head, STYLE, f"<title>{escape(title)}</title>", *parts, "</svg>\n"])


def text(x: float, y: float, what: str, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(what)}</text>'


def legend(names: Sequence[str]) -> list[str]:
    parts, x = list[str](), 10
    for name, colour in zip(names, COLOURS, strict=False):
        parts.append(f'<rect x="{x}" y="22" width="10" height="10" fill="{colour}"/>')
        parts.append(text(x + 14, 32, name))
        x += 30 + 7 * len(name)
    return parts


def bars(title: str, rows: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> str:
    """A group a row, a bar a name, each row to its own greatest value, which is written beside the bars.

    rows: by label, then by name; a name without a value has no bar.
    """
    parts, y = [text(10, 14, title), *legend(names)], 46.0
    for label, values in rows.items():
        most = max(values.values(), default=0) or 1
        shown = [name for name in names if name in values]
        parts.append(text(LABEL - 8, y + len(shown) * BAR / 2 + 4, label, "end"))
        for name in shown:
            width = max(values[name] / most * (WIDTH - LABEL - 70), 1)
            colour = COLOURS[names.index(name)]
            parts.append(f'<rect x="{LABEL}" y="{y:.0f}" width="{width:.0f}" height="{BAR - 1}" fill="{colour}"/>')
            parts.append(text(LABEL + width + 4, y + BAR - 1, f"{values[name]:.3g}"))
            y += BAR
        y += GAP
    return document(WIDTH, int(y), parts, title)


def lines(title: str, unit: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """A line a series over a common horizontal axis (pods), both axes from 0."""
    left, top, right, bottom = 60, 46, WIDTH - 20, 320
    points = [point for one in series.values() for point in one]
    across, up = max((x for x, _ in points), default=1) or 1, max((y for _, y in points), default=1) or 1
    parts = [text(10, 14, f"{title} ({unit})"), *legend(list(series))]
    parts.append(f'<path d="M{left} {top}V{bottom}H{right}" fill="none"/>')
    for share in (0.0, 0.5, 1.0):
        parts.append(text(left - 6, bottom - share * (bottom - top) + 4, f"{share * up:.3g}", "end"))
    for x in sorted({x for x, _ in points}):
        parts.append(text(left + x / across * (right - left), bottom + 16, f"{x:g}", "middle"))
    for one, colour in zip(series.values(), COLOURS[1:] + COLOURS[:1], strict=False):
        at = [(left + x / across * (right - left), bottom - y / up * (bottom - top)) for x, y in one]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
        parts.append(f'<path d="{path}" fill="none" style="stroke:{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in at]
    parts.append(text(right, bottom + 32, "pods", "end"))
    return document(WIDTH, bottom + 40, parts, title)
