"""Make the HTML page from its parts. Pure."""

from collections.abc import Mapping

from crishim.cli.page.markup import Markup, element, together
from crishim.cli.page.sections import TITLES


def document(parts: Mapping[str, Markup], name: str) -> str:
    """The page with the parts in it. name: of the node."""
    title = f"{name}: pods and network devices"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", href="icon.svg", type="image/svg+xml"),
        element("link", rel="stylesheet", href="page.css"),
        element("script", src="page.js", defer=True),
    )
    header = element(
        "header",
        element("a", "To the pods", href="#pods", class_="skip"),
        element("h1", title),
        element("nav", [element("a", TITLES[part], href=f"#{part}") for part in parts], aria_label="Parts of the page"),
        element("p", element("span", "as it was when it was loaded", id="live", role="status")),
    )
    body = element("body", header, element("main", [_section(name, inside) for name, inside in parts.items()]))
    return "<!DOCTYPE html>\n" + element("html", head, body, lang="en") + "\n"


def _section(name: str, inside: Markup) -> Markup:
    heading = element("h2", TITLES[name], id=f"{name}-title")
    part = element("div", inside, data_part=name)
    return together(element("section", heading, part, id=name, aria_labelledby=f"{name}-title"))
