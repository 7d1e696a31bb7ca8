"""The journal: one file per attachment, written before each effect. The leases: who holds which host device.

Recovery assumes: a file is whole (linux/files.py; on a full disk it is overwritten, so that devices can return);
the state in it was reached or its effects begun; a removed file means the device is back. There is no fsync, which
would take most of the time beside the moves: what was written survives a crash of the process in the page cache, and a
reboot ends every namespace, so that a record of an earlier boot means nothing. Attachments that are not DONE, DOWN or
LOST hold their device. Used from several threads; every change goes through advance() or open().

A file that cannot be read (a newer version's) is left as it is until its device is back. Its attachment is in memory
only, made of the fields that can be read and of the copy that open() writes to another directory (adopt.py).
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import msgspec

from crishim.errors import CrishimError, Kind
from crishim.linux import directories, files, record_files
from crishim.linux.record_files import Unread
from crishim.netdev.adopt import is_id, stand_in, usable
from crishim.netdev.records import ORPHANED, Attachment, PodRef, State, check_transition, held_by

log = logging.getLogger("crishim.netdev")


class Journal:
    """Attachments in memory and on disk."""

    def __init__(self, directory: Path, copies: Path | None = None) -> None:
        """directory, and copies, for the copies of what open() wrote: made if missing, mode 0700."""
        self._directory = directory
        self._copies = copies
        self._adopted: set[str] = set()
        self._attachments: dict[str, Attachment] = {}
        self._claims: dict[int, PodRef] = {}
        self._lock = threading.Lock()
        self.on_return: Callable[[Attachment, int], object] | None = None  # called, in any thread, with the ifindex
        self.on_change: Callable[[str], object] | None = None  # called, in any thread, with a pod's id when its
        # devices or their states have changed
        self._listeners: list[Callable[[Attachment], object]] = []

    def load(self) -> None:
        """Read the directory. Unreadable records are logged and replaced by stand-ins (adopt.py). Blocks."""
        for directory in (self._directory, *filter(None, [self._copies])):
            directories.own(directory)
        found = record_files.load(self._directory, Attachment, is_id, usable)
        self._attachments |= found.read
        for unread in [*found.unread.values(), *self._without_record(found.read.keys() | found.unread.keys())]:
            attachment = stand_in(unread, self._copies)
            if attachment is None:
                log.error("nothing is known of the device of an unreadable record", extra={"path": unread.path})
                continue
            self._adopted.add(attachment.id)
            self._attachments[attachment.id] = attachment

    def _without_record(self, known: Set[str]) -> list[Unread]:
        """Copies without a record: it was lost, since a copy is written after the record and removed before it."""
        copies = self._copies.glob("*.json") if self._copies else ()
        return [Unread(p.stem, p, "is gone", {}) for p in copies if is_id(p.stem) and p.stem not in known]

    def all(self, pod_id: str = "") -> list[Attachment]:
        """Attachments of a pod, or of all, oldest first."""
        found = [a for a in list(self._attachments.values()) if not pod_id or a.pod.id == pod_id]
        return sorted(found, key=lambda a: (a.since, a.id))

    def held(self) -> list[Attachment]:
        """Those that hold their host device."""
        return [a for a in self.all() if a.state not in ORPHANED]

    def find(self, id: str) -> Attachment | None:
        return self._attachments.get(id)

    @contextlib.contextmanager
    def claimed(self, pod: PodRef, devices: Sequence[tuple[int, str]]) -> Iterator[None]:
        """Claim host devices, given as (ifindex, name), for the time of the context: all or none. open() leases them.

        Raises ABORTED if one is leased or claimed by another pod (fact `holder`: its id). A lease is of an ifindex only
        while its device may be on the host; when it is in the pod, another device may have that ifindex.
        """
        with self._lock:
            holders = {a.host.index: a for a in self.held() if a.state in (State.INTENT, State.RETURNING)}
            for index, name in devices:
                if index in holders:
                    raise held_by(holders[index], name)
                if index in self._claims:
                    other = self._claims[index]
                    text = f"device {name} is being given to pod {other}"
                    raise CrishimError(Kind.ABORTED, text, device=name, holder=other.id)
            self._claims |= {index: pod for index, _ in devices}
        try:
            yield
        finally:
            with self._lock:
                for index, _ in devices:
                    del self._claims[index]

    def open(self, attachments: Sequence[Attachment]) -> None:
        """Lease the claimed devices of new attachments and write their INTENT: all or none."""
        with self._lock:
            written: list[Attachment] = []
            try:
                for attachment in attachments:
                    written.append(attachment)
                    self._write(attachment)
                    if self._copies:
                        self._put(self._copies / f"{attachment.id}.json", attachment)
            except BaseException:
                for attachment in written:
                    self._drop(attachment)
                raise
        for attachment in attachments:
            _log_state(attachment, None)
            self._notify(attachment)

    def advance(self, attachment: Attachment, state: State, **changes: Any) -> Attachment:
        """Write an attachment's next state with the changed fields; DONE removes the file. Returns it as it is now."""
        before = self._attachments.get(attachment.id)
        if before is None:
            return attachment  # dropped meanwhile: its device was given to another pod, or its own pod removed
        check_transition(before.state, state)
        if state is before.state and not changes:
            return before
        after = msgspec.structs.replace(before, state=state, changed=time.time_ns(), **changes)
        with self._lock:
            if state is State.DONE:
                self._drop(after)
            else:
                self._write(after)
        if state is not before.state:
            _log_state(after, before)
            self._changed(after)
            self._notify(after)
        return after

    def drop(self, attachment: Attachment) -> None:
        """Remove an attachment, whatever its state: its pod is gone, or it is of an earlier boot."""
        with self._lock:
            self._drop(attachment)
        self._changed(attachment)

    @contextlib.contextmanager
    def listening(self, listener: Callable[[Attachment], object]) -> Iterator[None]:
        """While open, call listener, in any thread, with each attachment whose state has changed."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def _notify(self, attachment: Attachment) -> None:
        for listener in list(self._listeners):
            listener(attachment)

    def _changed(self, attachment: Attachment) -> None:
        if self.on_change is not None:
            self.on_change(attachment.pod.id)

    def _drop(self, attachment: Attachment) -> None:
        for directory in filter(None, (self._copies, self._directory)):
            record_files.remove(directory / f"{attachment.id}.json")
        self._attachments.pop(attachment.id, None)
        self._adopted.discard(attachment.id)

    def _write(self, attachment: Attachment) -> None:
        if attachment.id not in self._adopted:
            self._put(self._directory / f"{attachment.id}.json", attachment)
        self._attachments[attachment.id] = attachment

    @staticmethod
    def _put(path: Path, attachment: Attachment) -> None:
        try:
            record_files.write(path, attachment)
        except OSError as error:
            raise CrishimError(
                Kind.EXHAUSTED if error.errno in files.FULL else Kind.INTERNAL,
                f"cannot write the journal of network device {attachment.device}: {error.strerror}",
                path=str(path),
            ) from error


def _log_state(after: Attachment, before: Attachment | None) -> None:
    level = logging.ERROR if after.state in ORPHANED else logging.INFO
    log.log(
        level,
        "network device %s",
        after.state.value,
        extra={
            "device": after.device,
            "interface": after.name,
            "pod": after.pod.id,
            "attachment": after.id,
            "mover": after.mover.value,
            "sources": list(after.sources),
            "before": before.state.value if before else "",
            "reason": after.reason,
        },
    )
