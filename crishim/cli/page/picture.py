"""The node as a picture: its links on the left, its pods on the right, eth0 and devices as lines between them. Pure.

Inline SVG: page.css has the colours, and the tables below it the same facts as text. Coordinates are pixels; y goes
down.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from crishim.cli.page.facts import Container, DeviceFacts, LinkFacts, NodeFacts, PodFacts
from crishim.cli.page.markup import Markup, element, together

MOST_DRAWN = 40  # pods, and links of the node
MOST_ROWS = 12  # of one pod
_NODE_X, _NODE_WIDTH, _POD_X, _POD_WIDTH, _WIDTH = 8, 220, 420, 524, 952
_ROW, _HEAD, _GAP, _TOP = 30, 34, 14, 8
_LINK_X, _LINK_WIDTH = _POD_X + 12, 236
_CHIP_X, _CHIP_WIDTH = _POD_X + 260, 252


class Port(NamedTuple):
    """A pod's end of a line. host: name of the drawn link on the node, "" if none is. kind: CSS class."""

    text: str
    title: str
    host: str
    kind: str


def draw(node: NodeFacts) -> Markup:
    """The picture, and a line with the number of pods left out."""
    pods = node.pods[:MOST_DRAWN]
    links = drawn_links(node)[:MOST_DRAWN]
    tops = list(accumulate((_height(pod) + _GAP for pod in pods), initial=_TOP))
    rows = {link.name: _TOP + _HEAD + number * _ROW + 13 for number, link in enumerate(links)}
    height = max(tops[-1], _TOP + _HEAD + len(links) * _ROW + 8, 90)
    lines = [line for pod, top in zip(pods, tops, strict=False) for line in _lines(pod, top, rows)]
    boxes = [_pod(pod, top) for pod, top in zip(pods, tops, strict=False)]
    picture = element(
        "svg",
        element("title", "The node's links and its pods"),
        element("desc", "Lines lead from links of the node to eth0 and devices of pods; the tables have it in words"),
        lines,
        _node(links, height - 2 * _TOP),
        boxes,
        viewBox=f"0 0 {_WIDTH} {height}",
        class_="picture",
        role="img",
    )
    rest = len(node.pods) - len(pods)
    return together(picture, element("p", f"{rest} more pods are in the table alone.") if rest else None)


def drawn_links(node: NodeFacts) -> list[LinkFacts]:
    """Links that pods are connected to, have, or may get, and hardware; not the host ends of veth pairs."""
    known = {link.name: link for link in node.links}
    used = [name for pod in node.pods for name in pod.links if known.get(name, _OTHER).kind != "veth"]
    held = [device.host_name for device in node.devices]
    own = [x.name for x in node.links if x.state != "never" or (x.kind == "physical" and x.name != "lo")]
    names = dict.fromkeys([*used, *held, *own])
    return [known.get(name, LinkFacts(name, "", "given" if name in held else "never", "")) for name in names]


_OTHER = LinkFacts("", "veth", "never", "")


def ports(pod: PodFacts, known: Sequence[str] = ()) -> list[Port]:
    """A pod's eth0 and devices. known: names of the drawn links."""
    found = []
    if pod.has_own_network:
        host = next((name for name in pod.links if name in known), "")
        veth = ", ".join(name for name in pod.links if name != host)
        address = pod.addresses[0] if pod.addresses else ""
        title = f"eth0 {' '.join(pod.addresses)}, network {pod.network}"
        found.append(Port(f"eth0 {address}", f"{title}, by {veth}" if veth else title, host, "eth0"))
    for device in pod.devices:
        found.append(Port(f"{device.name} · {device.state}", _title(device), device.host_name, _kind(device)))
    return found[:MOST_ROWS]


def _title(device: DeviceFacts) -> str:
    return f"{device.host_name} as {device.name}: {device.status} {' '.join(device.addresses)}".rstrip()


def _kind(device: DeviceFacts) -> str:
    return device.state if device.state in _KINDS else "ready"


_KINDS = frozenset({"intent", "moved", "ready", "returning", "done", "lost", "down"})


def newest(containers: Sequence[Container]) -> list[Container]:
    """The last attempt of each container name."""
    return list({container.name: container for container in containers}.values())


def _height(pod: PodFacts) -> int:
    rows = max(len(ports(pod)), min(len(newest(pod.containers)), MOST_ROWS), 1)
    return _HEAD + rows * _ROW + 8


def _lines(pod: PodFacts, top: int, rows: dict[str, int]) -> Iterator[Markup]:
    left, right = _NODE_X + _NODE_WIDTH - 8, _LINK_X
    for number, port in enumerate(ports(pod, list(rows))):
        y, start = top + _HEAD + number * _ROW + 13, rows.get(port.host, _TOP + 17)
        middle = (left + right) // 2
        way = f"M{left} {start} C{middle} {start} {middle} {y} {right} {y}"
        yield element("path", element("title", port.title), d=way, class_=f"wire {port.kind}")


def _node(links: Sequence[LinkFacts], height: int) -> Markup:
    rows = [
        _labelled(_NODE_X + 8, _TOP + _HEAD + number * _ROW, _NODE_WIDTH - 16, f"{x.name}  {x.kind}", x.note, x.state)
        for number, x in enumerate(links)
    ]
    return together(
        element("rect", class_="area", x=_NODE_X, y=_TOP, width=_NODE_WIDTH, height=height, rx=8),
        element("text", "this node", class_="name", x=_NODE_X + 12, y=_TOP + 22),
        rows,
    )


def _pod(pod: PodFacts, top: int) -> Markup:
    state = "ready" if pod.is_ready else "not ready"
    links = [
        _labelled(_LINK_X, top + _HEAD + number * _ROW, _LINK_WIDTH, port.text, port.title, port.kind)
        for number, port in enumerate(ports(pod))
    ]
    chips = [
        _labelled(_CHIP_X, top + _HEAD + number * _ROW, _CHIP_WIDTH, _chip(c), c.image, c.state)
        for number, c in enumerate(newest(pod.containers)[:MOST_ROWS])
    ]
    without = element("text", "the node's network", class_="faint", x=_LINK_X, y=top + _HEAD + 18)
    return element(
        "g",
        element("rect", class_="area", x=_POD_X, y=top, width=_POD_WIDTH, height=_height(pod), rx=8),
        element("text", _cut(pod.name, 46), class_="name", x=_POD_X + 12, y=top + 22),
        element("text", state, class_="faint end", x=_POD_X + _POD_WIDTH - 12, y=top + 22),
        links or without,
        chips,
        class_="pod" if pod.is_ready else "pod over",
    )


def _chip(container: Container) -> str:
    restarts = f" · restarts {container.attempt}" if container.attempt else ""
    code = f" {container.exit_code}" if container.exit_code is not None else ""
    return f"{_cut(container.name, 16)} · {container.state}{code}{restarts}"


def _labelled(x: int, y: int, width: int, text: str, title: str, kind: str) -> Markup:
    """A box with one line of text, which may be cut; its title has all of it."""
    return element(
        "g",
        element("title", f"{text} {title}".rstrip()),
        element("rect", x=x, y=y, width=width, height=26, rx=5),
        element("text", _cut(text, width // 7), x=x + 8, y=y + 17),
        class_=f"box {kind}",
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
