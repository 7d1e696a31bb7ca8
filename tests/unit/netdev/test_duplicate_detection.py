"""Waiting for duplicate address detection, on made-up links, and the socket that is listened to."""

import select
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.linux.netlink.addresses import IFA_F_DADFAILED, IFA_F_PERMANENT, IFA_F_TENTATIVE
from crishim.linux.netlink.links import IFF_LOWER_UP, IFF_UP
from crishim.netdev import duplicate_detection
from crishim.netdev.duplicate_detection import AddressListener, wait
from tests.unit.netdev.fake_addresses import FakeAddresses
from tests.unit.netdev.fake_links import attachment
from tests.unit.netdev.test_verify import GLOBAL, ON_THE_HOST, arrived


class Bell:
    """A listener that notes how long it was to wait, and lets something happen meanwhile."""

    def __init__(self, *happenings: Any) -> None:
        self.waited: list[float] = []
        self._happenings = list(happenings)

    def __enter__(self) -> "Bell":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self._happenings.pop(0)()


@pytest.mark.parametrize(
    ("flags", "link", "said"),
    [
        (IFA_F_TENTATIVE, IFF_UP, "2001:db8::1/64 stays tentative: net1 has no carrier"),
        (IFA_F_DADFAILED | IFA_F_TENTATIVE, IFF_UP | IFF_LOWER_UP, "is in use elsewhere on the link"),
    ],
)
def test_what_is_not_waited_for(
    fake_links: None, fake_addresses: FakeAddresses, monkeypatch: pytest.MonkeyPatch, flags: int, link: int, said: str
) -> None:
    """A detection that has failed, and one that will never end."""
    bell = Bell()
    monkeypatch.setattr(duplicate_detection, "AddressListener", lambda: bell)
    known, gone = attachment(host=ON_THE_HOST), attachment(id="f" * 16, index=77)
    fake_addresses.found[5] = [replace(GLOBAL, flags=IFA_F_PERMANENT | flags)]
    pod = arrived(known, flags=link)
    found = wait([gone, known], pod, 5)
    assert [said in text for text in found[known.id]] == [True]
    assert list(found) == [known.id]
    assert bell.waited == []
    assert pod.entered == 1


def test_waiting_for_detection(
    fake_links: None, fake_addresses: FakeAddresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it has ended, or the time has."""
    known = attachment(host=ON_THE_HOST)
    tentative = replace(GLOBAL, flags=IFA_F_PERMANENT | IFA_F_TENTATIVE)
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def end() -> None:
        fake_addresses.found[5] = [GLOBAL]

    def later(seconds: float) -> Callable[[], None]:
        return lambda: now.__setitem__(0, now[0] + seconds)

    said = ["2001:db8::1/64 is still tentative: duplicate address detection has not ended"]
    for happenings, waits, doubts in (
        ([later(3), end], [5.0, 2.0], {}),
        ([later(3), later(1.5), later(0.5)], [5.0, 2.0, 0.5], {known.id: said}),
    ):
        fake_addresses.found[5] = [tentative]
        bell = Bell(*happenings)
        monkeypatch.setattr(duplicate_detection, "AddressListener", lambda bell=bell: bell)
        now[0] = 100.0
        assert wait([known], arrived(known), 5.0) == doubts
        assert bell.waited == waits


def test_what_is_listened_to() -> None:
    """Changes of IPv6 addresses (group 9), in this thread's namespace; the socket is closed in the end."""
    with AddressListener() as listener, AddressListener():  # several at once
        heard = listener._socket
        assert (heard.family, heard.getsockname()[1]) == (socket.AF_NETLINK, 0x100)
        assert not heard.get_inheritable()
    assert heard.fileno() == -1


def test_what_was_heard_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a message; nothing heard is waited for a quarter of a second at most, an overrun is a change too."""
    waits: list[float] = []
    with AddressListener() as listener:
        listener._socket.close()
        listener._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with other:
            other.send(b"x")
            listener.wait(5)
            listener._socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener._socket.recv(1)
            read, look = listener._socket, select.select

            def at_once(*what: Any) -> Any:
                waits.append(what[3])
                return look(what[0], what[1], what[2], 0)

            monkeypatch.setattr(select, "select", at_once)
            listener.wait(5)
            listener.wait(0.1)
            assert waits == [0.25, 0.1]
            monkeypatch.setattr(select, "select", lambda *what: ([read], [], []))
            listener.wait(5)  # nothing there after all: EAGAIN stands for ENOBUFS
