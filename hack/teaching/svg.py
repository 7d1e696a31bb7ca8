"""SVG by its few forms that the pictures need. Coordinates in pixels from the top left; y is a text's baseline.

Colours are classes, with a second set for dark screens. A background of its own makes a picture legible also where a
page is dark and says it is light.
"""

from html import escape

STYLE = """
text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: #1f2937 }
.title { font-size: 15px; font-weight: 600 }
.note { font-size: 12px; fill: #57606a }
.middle { text-anchor: middle }
.page { fill: #ffffff }
.box { fill: #eef2ff; stroke: #4f46e5; stroke-width: 1.3 }
.end { fill: #f3f4f6; stroke: #6b7280; stroke-width: 1.3 }
.device { fill: #fff3d6; stroke: #b45309; stroke-width: 1.3 }
.area { fill: none; stroke: #9ca3af; stroke-dasharray: 5 4 }
.line, .back { fill: none; stroke: #4b5563; stroke-width: 1.3 }
.back { stroke: #b45309 }
.way { fill: none; stroke: #b45309; stroke-width: 5; stroke-linejoin: round }
.head { fill: #4b5563 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note { fill: #adb5bf }
  .page { fill: #0d1117 }
  .box { fill: #1e2145; stroke: #8b8cf5 }
  .end { fill: #22272e; stroke: #8b949e }
  .device { fill: #3d2a08; stroke: #f0a53a }
  .area { stroke: #6e7681 }
  .line { stroke: #adb5bf }
  .back { stroke: #f0a53a }
  .way { stroke: #f0a53a }
  .head { fill: #adb5bf }
}
"""
HEAD = (
    '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path class="head" d="M0 0 L8 4 L0 8 z"/></marker>'
)


class Picture:
    """A picture in the making; `text()` is its file."""

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        self._opening = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img">\n<title>{escape(title)}</title>\n<desc>{escape(description)}</desc>\n'
            f"<style>{STYLE}</style>\n<defs>{HEAD}</defs>\n"
            f'<rect class="page" width="{width}" height="{height}"/>\n'
        )
        self._parts: list[str] = []

    def words(self, x: float, y: float, text: str, kind: str = "") -> None:
        self._parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>')

    def box(self, x: float, y: float, width: float, height: float, text: str = "", kind: str = "box") -> None:
        """A rectangle with a line of text in its middle."""
        self._parts.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>')
        if text:
            self.words(x + width / 2, y + height / 2 + 4.5, text, "middle")

    def path(self, steps: str, kind: str = "line", *, head: bool = False) -> None:
        """A path in SVG's own words; head: an arrow at its end."""
        arrow = ' marker-end="url(#head)"' if head else ""
        self._parts.append(f'<path class="{kind}" d="{steps}"{arrow}/>')

    def text(self) -> str:
        return self._opening + "\n".join(self._parts) + "\n</svg>\n"
