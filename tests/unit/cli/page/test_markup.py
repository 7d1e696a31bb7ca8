"""crishim/cli/page/markup.py"""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from crishim.cli.page.markup import LONGEST, Markup, element, shown, together


class Seen(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_elements() -> None:
    """Attributes by their Python names, children of all kinds, elements without an end."""
    assert element("p", "a", None, ["b", 3], element("b", 1.5)) == "<p>ab3<b>1.5</b></p>"
    assert element("td", class_="x", aria_label="y", defer=True, hidden=False, id=None, width=1000000) == (
        '<td class="x" aria-label="y" defer width="1000000"></td>'
    )
    assert element("img", src="a&b") == '<img src="a&amp;b">'
    assert together("<", Markup("<br>")) == "&lt;<br>"


@given(st.text())
def test_text_is_never_markup(text: str) -> None:
    """Whatever it is, as a child or an attribute: one element, and the text as it was, or as it can be shown."""
    seen = Seen(element("p", text, title=text))
    assert seen.tags == [("p", [("title", shown(text))])]
    assert seen.text == shown(text)


def test_what_can_be_shown() -> None:
    """No control characters, no change of direction, no surrogates, and not without an end."""
    assert shown("a\x1b\n\u202eb\udc80") == "a???b?"
    assert shown("x" * LONGEST) == "x" * LONGEST
    assert shown("x" * 10**6) == "x" * LONGEST + "…"
