"""Render the parts of the page, each of which is updated separately. Pure.

Times are absolute, in UTC, so that a part stays the same text until its facts change.
"""

import datetime
from collections.abc import Callable, Iterable, Sequence

from crishim.cli.page.device_states import steps
from crishim.cli.page.facts import Container, DeviceFacts, NodeFacts, PodFacts, Start
from crishim.cli.page.markup import Child, Markup, element, together
from crishim.cli.page.picture import draw
from crishim.ids import is_id

MOST_ENDED = 20  # ended attachments
MOST_STARTS = 30


def render(node: NodeFacts) -> dict[str, Markup]:
    """The content of each part by its id, in the page's order."""
    return {name: part(node) for name, part in SECTIONS.items()}


def state(node: NodeFacts) -> Markup:
    """Whether the daemon answers and is ready, and numbers of pods, containers and devices."""
    containers = [c for pod in node.pods for c in pod.containers]
    running = sum(c.state == "running" for c in containers)
    counts = ", ".join(
        (
            _count(len(node.pods) + node.left_out, "pod"),
            f"{_count(len(containers), 'container')} ({running} running)",
            _count(len(node.devices), "network device"),
        )
    )
    if node.silence:
        text = element("p", f"The daemon does not answer: {node.silence}. Below is what it said last.", class_="bad")
    elif node.conditions:
        text = together(element("p", f"{kind} is false: {why}", class_="bad") for kind, why in node.conditions)
    else:
        text = element("p", "Runtime and network are ready.", class_="good")
    return together(text, element("p", f"{node.version}: {counts}."))


def picture(node: NodeFacts) -> Markup:
    return draw(node) if node.pods or node.links else element("p", "There is nothing to draw yet.")


def pods(node: NodeFacts) -> Markup:
    if not node.pods:
        return element("p", "There are none.")
    rest = f"{node.left_out} older pods are not shown." if node.left_out else ""
    return together(map(_pod, node.pods), element("p", rest) if rest else None)


def devices(node: NodeFacts) -> Markup:
    """The devices in pods, and the last ended attachments."""
    rows = [(*_device_cells(d), _way(d.state, d.seen)) for d in node.devices]
    ended = [(w.host_name, w.pod, w.name, "", "back on the node", "", _way(w.state, w.seen)) for w in node.ended]
    if not rows and not ended:
        return element("p", "No pod has one.")
    return _table(
        "Devices and their way",
        ("Device", "Pod", "Name in it", "Addresses", "State", "Asked for by", "Way"),
        [*rows, *ended[:MOST_ENDED]],
    )


def links(node: NodeFacts) -> Markup:
    rows = [(x.name, x.kind, element("span", x.state, class_=f"word {x.state}"), x.note) for x in node.links]
    heads = ("Link", "Kind", "May be given", "To whom, or why not")
    return element(
        "details",
        element("summary", f"{_count(len(rows), 'link')} of the node"),
        _table("Links of the node", heads, rows),
        id="all-links",
    )


def starts(node: NodeFacts) -> Markup:
    """The timeline of each pod's start as a picture, with a link to it as text."""
    if not node.starts:
        return element("p", "The daemon has started none since it runs.")
    return together(map(_start, node.starts[:MOST_STARTS]))


def events(node: NodeFacts) -> Markup:
    if not node.events:
        return element("p", "Nothing since this page is served.")
    return element("ol", [element("li", element("code", line)) for line in node.events], class_="events")


SECTIONS: dict[str, Callable[[NodeFacts], Markup]] = {
    "state": state,
    "picture": picture,
    "pods": pods,
    "devices": devices,
    "links": links,
    "starts": starts,
    "events": events,
}
TITLES = {
    "state": "The daemon",
    "picture": "The node",
    "pods": "Pods",
    "devices": "Network devices",
    "links": "The node's links",
    "starts": "Where each start took its time",
    "events": "What happened",
}


def _pod(pod: PodFacts) -> Markup:
    facts: list[tuple[str, Child]] = [
        ("State", element("span", "ready" if pod.is_ready else "not ready", class_="word")),
        ("Id", element("code", pod.id)),
        ("Since", _time(pod.created)),
        ("Addresses", ", ".join(pod.addresses) or ("none" if pod.has_own_network else "the node's")),
        ("Network", pod.network or "the node's"),
        *([("Attempt", pod.attempt)] if pod.attempt else []),
        ("Devices", ", ".join(f"{d.name} ({d.host_name}, {d.status})" for d in pod.devices) or "none"),
    ]
    heads = ("Container", "State", "Restarts", "Image", "Id")
    containers = _table(f"Containers of {pod.name}", heads, map(_container_cells, pod.containers))
    return element(
        "article",
        element("h3", pod.name),
        element("dl", [together(element("dt", name), element("dd", value)) for name, value in facts]),
        element(
            "details",
            element("summary", "Namespaces"),
            _table(
                f"Namespaces of {pod.name}",
                ("Namespace", "Where"),
                [(k, element("code", v)) for k, v in pod.namespaces],
            ),
            id=f"namespaces-{pod.id}",
        ),
        containers if pod.containers else element("p", "It has no container."),
        class_="pod" if pod.is_ready else "pod over",
    )


def _container_cells(container: Container) -> tuple[Child, ...]:
    word = container.state
    if container.exit_code is not None:
        word = f"{word}, code {container.exit_code} ({container.reason})"
    text = element("span", word, class_=f"word {container.state}")
    return container.name, text, container.attempt, container.image, element("code", container.id[:13])


def _device_cells(device: DeviceFacts) -> tuple[Child, ...]:
    text = element("span", device.status, class_="word")
    sources = "; ".join(device.sources)
    return device.host_name, device.pod, device.name, ", ".join(device.addresses), text, sources


def _way(now: str, seen: Sequence[tuple[str, int]]) -> Markup:
    """The steps of an attachment with their times: the first as time of day, the others relative to it."""
    first = seen[0][1] if seen else 0
    items = []
    for step in steps(now, seen):
        when: Child = None
        if step.at:
            when = element("small", _clock(step.at) if step.at == first else f"+{(step.at - first) / 1e6:.0f} ms")
        current = "step" if step.standing == "now" else None
        items.append(element("li", step.state, " ", when, class_=f"step {step.standing}", aria_current=current))
    return element("ol", items, class_="way")


def _start(start: Start) -> Markup:
    failed = f", failed: {start.failed}" if start.failed else ""
    title = f"{start.pod} {start.pod_id[:13]}: {_count(start.calls, 'call')}, {start.ns / 1e6:.0f} ms{failed}"
    if not is_id(start.pod_id):
        return element("p", title)
    path = f"starts/{start.pod_id}"
    drawn = element("img", src=f"{path}.svg?calls={start.calls}", alt=f"Timeline of {start.pod}", loading="lazy")
    text = element("a", "the same as text", href=f"{path}.txt")
    return element("details", element("summary", title), drawn, element("p", text), id=f"start-{start.pod_id}")


def _table(caption: str, heads: Iterable[str], rows: Iterable[Iterable[Child]]) -> Markup:
    head = element("tr", [element("th", name, scope="col") for name in heads])
    body = [element("tr", [element("td", cell) for cell in row]) for row in rows]
    table = element("table", element("caption", caption), element("thead", head), element("tbody", body))
    return element("div", table, class_="wide", tabindex=0, role="region", aria_label=caption)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _time(ns: int) -> Markup:
    when = _moment(ns)
    return element("time", f"{when:%Y-%m-%d %H:%M:%S} UTC", datetime=when.isoformat(timespec="seconds"))


def _clock(ns: int) -> str:
    return f"{_moment(ns):%H:%M:%S}"


def _moment(ns: int) -> datetime.datetime:
    """A time, limited to valid dates: a clock may be wrong."""
    seconds = min(max(ns // 10**9, 0), 253_402_300_799)  # the end of the year 9999
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
