"""Build HTML and SVG from elements: text is escaped, only Markup is not. Pure."""

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

from crishim.cli.client import plain

LONGEST = 300  # characters of one text: names come from clients, and the page has to stay readable
_VOID = frozenset({"link", "meta", "img", "br"})


class Markup(str):
    """Text that is markup and must not be escaped."""

    __slots__ = ()


Child: TypeAlias = "str | int | float | Iterable[Child] | None"


def element(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """An element. Children: text, which is escaped, Markup, or iterables of them; None is left out.

    Underscores in an attribute's name become hyphens, one at the end is dropped (class_); True is an attribute without
    value, False and None are no attribute.
    """
    opening = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    if name in _VOID:
        return Markup(opening)
    return Markup(f"{opening}{_inside(children)}</{name}>")


def together(*children: Child) -> Markup:
    """Several children as one."""
    return Markup(_inside(children))


def shown(text: str) -> str:
    """Untrusted text for display: without control characters and bidi overrides, and not too long."""
    found = plain(text[: LONGEST + 1])
    return found if len(text) <= LONGEST else f"{found[:LONGEST]}…"


def _inside(children: Iterable[Child]) -> str:
    return "".join(map(_child, children))


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return escape(shown(child))
    return _number(child) if isinstance(child, int | float) else _inside(child)


def _attribute(name: str, value: str | float | bool | None) -> str:
    key = name.removesuffix("_").replace("_", "-")
    if value is None or value is False:
        return ""
    if value is True:
        return f" {key}"
    text = shown(value) if isinstance(value, str) else _number(value)
    return f' {key}="{escape(text)}"'


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"
