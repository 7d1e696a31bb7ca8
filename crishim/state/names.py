"""Names in use: a pod's (namespace, name, uid, attempt), a container's (pod, name, attempt).

Reserved before anything is made, so that two racing creates of one name cannot both succeed. Not on disk: rebuilt from
the records at start.
"""

import contextlib

from crishim.errors import CrishimError, Kind
from crishim.state.locks import Locks

Name = tuple[str, ...]


class Names:
    """Which id holds which name."""

    def __init__(self) -> None:
        self._holders: dict[Name, str] = {}
        self._locks = Locks()

    def holding(self, name: Name) -> contextlib.AbstractAsyncContextManager[None]:
        """A lock for each name, so that a second create of it sees the first one's result."""
        return self._locks.holding("\0".join(name))

    def holder(self, name: Name) -> str | None:
        return self._holders.get(name)

    def reserve(self, name: Name, id: str, noun: str) -> None:
        """Give a name to an id. Raises EXISTS naming the holder if another id has it."""
        held = self._holders.setdefault(name, id)
        if held != id:
            raise CrishimError(Kind.EXISTS, f"{noun} {'/'.join(name)} exists: {held[:13]} has its name", holder=held)

    def release(self, id: str) -> None:
        """Free every name of an id."""
        self._holders = {name: held for name, held in self._holders.items() if held != id}


def pod_name(namespace: str, name: str, uid: str, attempt: int) -> Name:
    return (namespace, name, uid, str(attempt))


def container_name(pod_id: str, name: str, attempt: int) -> Name:
    return (pod_id, name, str(attempt))
