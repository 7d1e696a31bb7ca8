"""Names in use."""

import asyncio

import pytest

from crishim.errors import CrishimError, Kind
from crishim.state.names import Names, container_name, pod_name


def test_a_name_has_one_holder() -> None:
    """The second is refused with the first one's id; the first may ask again; a release frees all names of an id."""
    names = Names()
    name, other = pod_name("ns", "web", "u1", 0), pod_name("ns", "web", "u1", 1)
    names.reserve(name, "a" * 64, "pod sandbox")
    names.reserve(name, "a" * 64, "pod sandbox")
    names.reserve(other, "a" * 64, "pod sandbox")
    with pytest.raises(CrishimError) as caught:
        names.reserve(name, "b" * 64, "pod sandbox")
    assert caught.value.kind is Kind.EXISTS
    assert caught.value.message == f"pod sandbox ns/web/u1/0 exists: {'a' * 13} has its name"
    assert caught.value.facts == {"holder": "a" * 64}
    names.release("c" * 64)
    assert names.holder(name) == "a" * 64
    names.release("a" * 64)
    assert (names.holder(name), names.holder(other)) == (None, None)
    names.reserve(name, "b" * 64, "pod sandbox")


def test_names_do_not_run_together() -> None:
    """Parts of a name keep apart, whatever is in them; an attempt is part of it."""
    assert pod_name("a", "b/c", "d", 0) != pod_name("a/b", "c", "d", 0)
    assert container_name("p", "c", 0) != container_name("p", "c", 1)
    assert len({pod_name(*p, 0) for p in (("a", "b", ""), ("", "a", "b"), ("a", "", "b"))}) == 3


async def test_one_at_a_time_for_each_name() -> None:
    """One at a time for a name; other names do not wait."""
    names, order = Names(), []

    async def take(name: tuple[str, ...], mark: str, until: asyncio.Event) -> None:
        async with names.holding(name):
            order.append(f"{mark} in")
            await until.wait()
            order.append(f"{mark} out")

    gate, opened = asyncio.Event(), asyncio.Event()
    opened.set()
    first = asyncio.create_task(take(("a", "b"), "first", gate))
    await asyncio.sleep(0)
    second = asyncio.create_task(take(("a", "b"), "second", opened))
    await take(("b", "a"), "other", opened)
    gate.set()
    await asyncio.gather(first, second)
    assert order == ["first in", "other in", "other out", "first out", "second in", "second out"]
