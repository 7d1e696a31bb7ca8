"""crishim/linux/peer_close.py"""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from crishim.linux.peer_close import PeerCloseWatcher


@pytest.fixture
async def watch() -> AsyncIterator[PeerCloseWatcher]:
    watch = PeerCloseWatcher()
    yield watch
    watch.close()


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0.005)


async def test_a_hang_up_behind_unread_data_is_seen(watch: PeerCloseWatcher) -> None:
    """The peer's end is reported once although nobody reads what came before it."""
    ours, theirs = socket.socketpair()
    calls: list[str] = []
    watch.watch(ours.fileno(), lambda: calls.append("gone"))
    theirs.send(b"unread")
    await turns()
    assert calls == []
    theirs.close()
    await turns()
    assert calls == ["gone"]
    ours.close()


async def test_what_is_forgotten_is_not_reported(watch: PeerCloseWatcher) -> None:
    """After forget() there is no call, and forgetting twice does nothing."""
    ours, theirs = socket.socketpair()
    calls: list[str] = []
    watched = watch.watch(ours.fileno(), lambda: calls.append("gone"))
    watch.forget(watched)
    watch.forget(watched)
    theirs.close()
    await turns()
    assert calls == []
    ours.close()


async def test_a_number_that_is_used_again_stays_watched(watch: PeerCloseWatcher) -> None:
    """Forgetting a socket that was closed long ago leaves the next one with its number alone."""
    ours, theirs = socket.socketpair()
    number = ours.fileno()
    old = watch.watch(number, lambda: None)
    ours.close()
    theirs.close()
    ours, theirs = socket.socketpair()
    assert number in (ours.fileno(), theirs.fileno())
    if theirs.fileno() == number:
        ours, theirs = theirs, ours
    calls: list[str] = []
    watch.watch(number, lambda: calls.append("gone"))
    watch.forget(old)
    theirs.close()
    await turns()
    assert calls == ["gone"]
    ours.close()
