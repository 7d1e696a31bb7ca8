"""Namespaces that a pod made for its devices: which are held, for how long, and where a device is then."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crishim.linux import net_namespaces
from crishim.linux.net_namespaces import NetnsPath
from crishim.netdev import identity
from crishim.netdev import nested_namespaces as module
from crishim.netdev.nested_namespaces import MOST, NestedNamespaces, end_with, search
from crishim.netdev.records import Attachment, Captured, Identity, State
from tests.unit.netdev.fake_links import FakeEnd, attachment, veth


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def opened() -> int:
    return os.open("/dev/null", os.O_RDONLY)


def device(number: int, state: State = State.READY) -> Attachment:
    return attachment(
        id=f"{number:016x}",
        state=state,
        index=number,
        host=Captured(index=number, name=f"demo{number}", kind="veth"),
        identity=Identity(inode=1000 + number, kind="veth"),
    )


class Nest(FakeEnd):
    """A namespace with devices; closed: how often."""

    def __init__(self, inode: int, *numbers: int) -> None:
        super().__init__(*(veth(n, f"net{n}") for n in numbers), inode=inode)
        self.closed = 0
        self.fd = -1

    def open(self) -> "Nest":
        self.fd = opened()
        return self

    def close(self) -> None:
        self.closed += 1
        os.close(self.fd)


@pytest.fixture
def there(fake_links: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Nest]]:
    """Namespaces by their handles; nothing is open in the end."""
    found: dict[str, Nest] = {}
    known: list[frozenset[int]] = []

    def places(near: frozenset[int]) -> Iterator[NetnsPath]:
        known.append(near)
        return iter([NetnsPath(int(path), path) for path in found])

    def end(path: str) -> Nest:
        if found[path].inode == 0:
            raise FileNotFoundError(path)
        return found[path].open()

    monkeypatch.setattr(net_namespaces, "places", places)
    monkeypatch.setattr(module, "Netns", end)
    before = descriptors()
    yield found
    assert descriptors() == before
    assert all(near in ({1, 2}, {1}) for near in known)


def seek(*known: Attachment, host: Any = None, pod: Any = "") -> dict[int, int]:
    """Inodes of what is found, with how many links are there; the descriptors are closed."""
    near: tuple[Any, Any] = Nest(1), Nest(2)
    found = search(known, host or near[0], near[1] if pod == "" else pod)
    for fd in found.values():
        assert os.readlink(f"/proc/self/fd/{fd}") == "/dev/null"
        os.close(fd)
    return found


def test_devices_that_are_neither_here_nor_there(there: dict[str, Nest]) -> None:
    """Each namespace with one is held; it is not looked for further than needed."""
    there |= {"7": Nest(7), "8": Nest(8, 5), "9": Nest(9, 6), "10": Nest(10, 5)}
    assert list(seek(device(5), device(6))) == [8, 9]
    assert [n.closed for n in there.values()] == [1, 1, 1, 0]
    assert list(seek(device(5), pod=None)) == [8]
    assert list(seek(device(7))) == []


@pytest.mark.parametrize(
    ("state", "sought"),
    [
        (State.INTENT, False),
        (State.MOVED, True),
        (State.READY, True),
        (State.RETURNING, True),
        (State.LOST, True),
        (State.DOWN, False),
    ],
)
def test_which_are_looked_for(there: dict[str, Nest], state: State, sought: bool) -> None:
    there["8"] = Nest(8, 5)
    assert bool(seek(device(5, state))) is sought


def test_what_is_near(there: dict[str, Nest]) -> None:
    """In the pod or on the host: nothing is looked at."""
    there["8"] = Nest(8, 5)
    assert seek(device(5), host=Nest(1, 5)) == {}
    assert seek(device(5), pod=Nest(2, 5)) == {}
    assert there["8"].closed == 0


def test_namespaces_that_change_meanwhile(there: dict[str, Nest]) -> None:
    """One that has ended, and one whose handle leads to another by now."""
    there |= {"7": Nest(0, 5), "8": Nest(88, 5), "9": Nest(9, 5)}
    assert list(seek(device(5))) == [9]


def test_a_search_that_fails(there: dict[str, Nest], monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves nothing open."""
    there |= {"8": Nest(8, 5), "9": Nest(9, 6)}
    find = identity.find_in_pod

    def fail(known: Attachment, end: Any) -> Any:
        if end.inode == 9:
            raise OSError("broken")
        return find(known, end)

    monkeypatch.setattr(module, "find_in_pod", fail)
    with pytest.raises(OSError, match="broken"):
        seek(device(5), device(6))


def test_what_is_held(tmp_path: Path) -> None:
    """Once each, so many at most, until it is dropped; of each pod by itself."""
    before = descriptors()
    nested = NestedNamespaces()
    assert nested.handles("a") == ()
    first = {i: opened() for i in range(MOST - 1)}
    assert nested.keep("a", first) == list(range(MOST - 1))
    assert nested.keep("a", {0: opened(), 100: opened(), 101: opened()}) == [100]
    assert nested.keep("b", {0: opened()}) == [0]
    assert len(nested.handles("a")) == MOST
    assert nested.handles("a")[0] == f"/proc/self/fd/{first[0]}"
    assert descriptors() == before + MOST + 1
    nested.drop("a")
    nested.drop("a")
    assert nested.handles("a") == ()
    assert descriptors() == before + 1
    nested.drop("b")
    assert descriptors() == before


def test_where_a_device_is(fake_links: None) -> None:
    """In the pod's namespace or one that was held; the pod's if it is nowhere, or there is no choice."""
    ends: list[Any] = [Nest(2), Nest(8, 5), Nest(9, 6)]
    assert end_with(device(6), ends) is ends[2]
    assert end_with(device(5), ends) is ends[1]
    assert end_with(device(5), ends[:2]) is ends[1]
    assert end_with(device(7), ends) is ends[0]
    assert end_with(device(7), ends[1:2]) is ends[1]
    assert end_with(device(7), []) is None
