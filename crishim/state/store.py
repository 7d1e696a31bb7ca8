"""Records on disk, and their cache in memory: one JSON file a record, `DIRECTORY/ID.json`, replaced by rename(2).

What recovery may assume (operations/recover.py):
- A file is whole: rename(2) is atomic. A record without the other effects of its operation is an intent.
- On a full disk a change overwrites its file in place (linux/files.py), so that pods can be stopped and removed.
- Files are not fsynced. Killing the daemon loses nothing; a power cut ends every pod of the node as well, and may leave
  a record empty.
- Memory is a cache of the disk: update() writes first and publishes after.
- A record that cannot be read (a newer version's) is left as it is (linux/record_files.py). A stand-in for it
  (operations/adopt.py) is in memory only: adopt().
"""

import asyncio
import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from crishim.errors import CrishimError, Kind
from crishim.ids import is_id, is_prefix
from crishim.linux import directories, executors, files, record_files
from crishim.linux.record_files import Unread
from crishim.model import ContainerRecord, PodRecord

R = TypeVar("R", bound=PodRecord | ContainerRecord)
Listener = Callable[[R | None, R | None], None]


class Store(Generic[R]):
    """The records of one kind. All methods belong to the event loop's thread; only the writes happen in others."""

    def __init__(
        self,
        directory: Path,
        kind: type[R],
        noun: str,
        check: Callable[[R, R], None],
        check_record: Callable[[R], object] = lambda record: None,
    ) -> None:
        """noun: for errors ("pod sandbox"). check(before, after) raises on a forbidden transition.

        check_record: raises for a well-formed record that cannot be used.
        """
        self._directory = directory
        self._kind = kind
        self._noun = noun
        self._check = check
        self.check_record = check_record
        self._records: dict[str, R] = {}
        self._adopted: set[str] = set()
        self._locks: dict[str, asyncio.Lock] = {}
        self._listeners: list[Listener[R]] = []
        self.unread: dict[str, Unread] = {}  # by id, until it is adopted

    def load(self) -> None:
        """Read every record of the directory, which is made (0700) if missing. Blocks: call it before serving."""
        directories.own(self._directory)
        found = record_files.load(self._directory, self._kind, is_id, self.check_record)
        self._records |= found.read
        self.unread = found.unread

    def adopt(self, record: R) -> None:
        """Add a stand-in for a record that cannot be read. It is changed in memory only; the file is left as it is
        until remove()."""
        self._records[record.id] = record
        self._adopted.add(record.id)
        self.unread.pop(record.id, None)

    def is_adopted(self, id: str) -> bool:
        return id in self._adopted

    def __iter__(self) -> Iterator[R]:
        return iter(list(self._records.values()))

    def get(self, id: str) -> R | None:
        """The record of a full id."""
        return self._records.get(id)

    def find(self, id: str) -> R:
        """The record of an id or of the unambiguous beginning of one. Raises NOT_FOUND, or INVALID if ambiguous."""
        record = self._records.get(id)
        if record is not None:
            return record
        matches = [r for key, r in self._records.items() if key.startswith(id)] if is_prefix(id) else []
        if len(matches) > 1:
            raise CrishimError(Kind.INVALID, f"{self._noun} id {id!r} is ambiguous: {len(matches)} begin so")
        if not matches:
            raise CrishimError(Kind.NOT_FOUND, f"{self._noun} {id!r} does not exist")
        return matches[0]

    async def add(self, record: R) -> None:
        """Write and publish a new record."""
        await executors.records(self._write, record)
        self._records[record.id] = record
        self._publish(None, record)

    async def update(self, id: str, change: Callable[[R], R]) -> R:
        """Change a record: lock, apply, check the transition, write, publish. NOT_FOUND if it was removed."""
        async with self._locks.setdefault(id, asyncio.Lock()):
            before = self.find(id)
            after = change(before)
            self._check(before, after)
            if after == before:
                return before
            if id not in self._adopted:
                await executors.records(self._write, after)
            self._records[id] = after
        self._publish(before, after)
        return after

    async def remove(self, id: str) -> None:
        """Remove a record; does nothing if it does not exist."""
        async with self._locks.setdefault(id, asyncio.Lock()):
            record = self._records.get(id)
            await executors.records(record_files.remove, self._directory / f"{id}.json")
            self._records.pop(id, None)
            self._adopted.discard(id)
        self._locks.pop(id, None)
        if record is not None:
            self._publish(record, None)

    def subscribe(self, listener: Listener[R]) -> None:
        """Call listener(before, after) after each change from now on; None stands for "no record"."""
        self._listeners.append(listener)

    @contextlib.contextmanager
    def listening(self, listener: Listener[R]) -> Iterator[None]:
        """subscribe() for as long as the context lasts."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    async def wait(self, id: str, satisfied: Callable[[R], bool]) -> R | None:
        """Wait until a record satisfies a condition; None if it is gone. Bound it with asyncio.timeout."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settled() -> bool:
            record = self._records.get(id)
            return record is None or satisfied(record)

        def listener(before: R | None, after: R | None) -> None:
            record = after or before
            if record is not None and record.id == id and settled() and not done.done():
                done.set_result(None)

        with self.listening(listener):
            if not settled():
                await done
        return self._records.get(id)

    def _publish(self, before: R | None, after: R | None) -> None:
        for listener in tuple(self._listeners):
            listener(before, after)

    def _write(self, record: R) -> None:
        path = self._directory / f"{record.id}.json"
        try:
            record_files.write(path, record)
        except OSError as error:
            kinds = dict.fromkeys(files.FULL, Kind.EXHAUSTED) | {errno.EFBIG: Kind.INVALID}
            raise CrishimError(
                kinds.get(error.errno or 0, Kind.INTERNAL),
                f"cannot write the record of {self._noun} {record.id[:13]}: {error.strerror}",
                path=str(path),
            ) from error
