"""The state machines of pod, container and attachment, drawn from the tables in the code."""

from collections.abc import Mapping, Set
from enum import StrEnum
from typing import TypeVar

from crishim.lifecycle import CONTAINER_TRANSITIONS, POD_TRANSITIONS
from crishim.netdev.records import TRANSITIONS
from hack.teaching.svg import Picture

S = TypeVar("S", bound=StrEnum)
STEP, WIDTH, HEIGHT = 132, 96, 30
MARGIN, ROW = 20, 225


def states() -> str:
    """One row a machine: to the next state straight on, to a later one above, to an earlier one below."""
    picture = Picture(
        2 * MARGIN + 6 * STEP + WIDTH, 3 * ROW + 10, "States", "What may follow what, from the code's tables"
    )
    machine(picture, 0, "Pod: crishim/lifecycle.py POD_TRANSITIONS", POD_TRANSITIONS)
    machine(picture, ROW, "Container: crishim/lifecycle.py CONTAINER_TRANSITIONS", CONTAINER_TRANSITIONS)
    machine(picture, 2 * ROW, "Attachment of a device: crishim/netdev/records.py TRANSITIONS", TRANSITIONS)
    return picture.text()


def machine(picture: Picture, top: int, title: str, table: Mapping[S, Set[S]]) -> None:
    """One table, below `top`. A state that nothing follows is grey."""
    picture.words(MARGIN, top + 24, title, "title")
    order = list(table)
    y = top + 125
    for place, state in enumerate(order):
        for other in sorted(table[state], key=order.index):
            arrow(picture, place, order.index(other), y)
    for place, state in enumerate(order):
        kind = "box" if table[state] else "end"
        picture.box(MARGIN + place * STEP, y, WIDTH, HEIGHT, state.value.upper(), kind)


def arrow(picture: Picture, before: int, after: int, y: int) -> None:
    left = MARGIN + before * STEP
    if after == before + 1:
        picture.path(f"M{left + WIDTH} {y + HEIGHT / 2:g} H{left + STEP - 1}", head=True)
        return
    distance = abs(after - before)
    lean = 7 * distance  # arrows between the same two sides do not start or end on one another
    middle, target = left + WIDTH / 2, MARGIN + after * STEP + WIDTH / 2
    reach = 14 + 17 * distance
    if after > before:
        start, end, edge, bend = middle + 4 + lean / 2, target - 4 - lean, y, y - reach
    else:
        start, end, edge, bend = middle - 4 - lean / 2, target + 4 + lean, y + HEIGHT, y + HEIGHT + reach
    kind = "line" if after > before else "back"
    picture.path(f"M{start:g} {edge} C{start:g} {bend} {end:g} {bend} {end:g} {edge}", kind, head=True)
