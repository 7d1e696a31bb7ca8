"""Watches devices in their pods while the daemon runs: one that vanishes, goes down or is renamed is in the log, the
metrics and `netdev list` within a second.

A link monitor in each pod that has devices (linux/netlink/link_monitor.py) tells when to read them. They are found by
identity, since a pod can forge everything else. A pod is read at most once in PAUSE, one pod after the other, so that
one that changes its links ten thousand times a second costs one read and one log line a second. The monitor's socket
would keep the pod's namespace alive: it is closed when the last device leaves READY, before CNI DEL.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence
from functools import partial

from crishim.errors import CrishimError
from crishim.linux import executors
from crishim.linux.netlink import link_monitor
from crishim.linux.netlink.link_monitor import LinkChange, LinkMonitor
from crishim.linux.netns_thread import Netns
from crishim.netdev import presence
from crishim.netdev.journal import Journal
from crishim.netdev.metrics import Metrics
from crishim.netdev.netns_executor import NetnsExecutor
from crishim.netdev.presence import ATTACHED, Presence
from crishim.netdev.records import Attachment, State

log = logging.getLogger("crishim.netdev")
PAUSE = 0.8  # seconds between two reads of a pod
SETTLING = 0.05  # seconds between a change and the read: links are changed several times at once
RETRY = 10.0  # seconds after a read that failed

_Read = tuple[dict[str, Presence], socket.socket | None]


class _Pod:
    """A pod that has devices. free: when it may be read again, in the loop's time."""

    def __init__(self) -> None:
        self.monitor: LinkMonitor | None = None
        self.free = 0.0
        self.was_lively = False

    def close(self) -> None:
        if self.monitor is not None:
            self.monitor.close()
            self.monitor = None


class PodWatch:
    """Started once recovery is over."""

    def __init__(self, journal: Journal, metrics: Metrics) -> None:
        self._journal = journal
        self._metrics = metrics
        self._pods: dict[str, _Pod] = {}
        self._due: dict[str, float] = {}  # pods to read, and when at the earliest, in the loop's time
        self._known: dict[str, Presence] = {}  # by attachment id
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """In the running event loop. Without devices nothing is opened, and pyroute2 not imported."""
        loop = asyncio.get_running_loop()
        self._journal.on_change = lambda pod_id: loop.call_soon_threadsafe(self._note, pod_id)
        for pod_id in {a.pod.id for a in self._journal.all()}:
            self._note(pod_id)
        self._task = loop.create_task(self._run(), name="network devices in pods")

    async def close(self) -> None:
        self._journal.on_change = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for pod in self._pods.values():
            pod.close()
        self._pods.clear()
        await asyncio.sleep(0)  # asyncio closes a transport in the loop's next iteration

    def presence(self, attachment_id: str) -> Presence:
        """As last read. From memory, for any thread."""
        return self._known.get(attachment_id, ATTACHED)

    def _ready(self, pod_id: str) -> list[Attachment]:
        return [a for a in self._journal.all(pod_id) if a.state is State.READY]

    def _note(self, pod_id: str) -> None:
        """The pod's devices or their states have changed."""
        ready = self._ready(pod_id)
        if ready:
            self._pods.setdefault(pod_id, _Pod())
            self._look_soon(pod_id)
        elif pod_id in self._pods:
            self._pods.pop(pod_id).close()
            self._due.pop(pod_id, None)
        held = {a.id for a in self._journal.all()}
        self._known = {id: known for id, known in self._known.items() if id in held}

    def _look_soon(self, pod_id: str) -> None:
        if pod_id in self._pods and pod_id not in self._due:
            soon = asyncio.get_running_loop().time() + SETTLING
            self._due[pod_id] = max(soon, self._pods[pod_id].free)
            self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            wait = min(self._due.values()) - loop.time() if self._due else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            self._wake.clear()
            for pod_id in [id for id, when in self._due.items() if when <= loop.time()]:
                pod = self._pods.get(pod_id)
                if pod is not None and self._due.pop(pod_id, None) is not None:
                    pod.free = loop.time() + PAUSE
                    await self._look(pod_id, pod)

    async def _look(self, pod_id: str, pod: _Pod) -> None:
        changes: list[LinkChange] = []
        try:
            if pod.monitor is not None:
                changes = pod.monitor.take()
                self._close_if_missed(pod_id, pod)
            ready = self._ready(pod_id)
            if ready:
                await self._read(pod_id, pod, ready, changes)
        except (CrishimError, OSError, ImportError) as error:
            log.warning("a pod's devices cannot be looked at", extra={"pod": pod_id, "error": str(error)})
            if self._pods.get(pod_id) is pod:
                self._due[pod_id] = asyncio.get_running_loop().time() + RETRY

    def _close_if_missed(self, pod_id: str, pod: _Pod) -> None:
        """Close a monitor that has missed events: this read opens another, and one more read is scheduled."""
        if pod.monitor is None or not pod.monitor.missed:
            pod.was_lively = False
            return
        if not pod.was_lively:
            log.warning("a pod changes its links faster than is looked: once a second", extra={"pod": pod_id})
        pod.was_lively = True
        pod.close()
        self._due[pod_id] = pod.free

    async def _read(self, pod_id: str, pod: _Pod, ready: list[Attachment], changes: list[LinkChange]) -> None:
        before = {a.id: self.presence(a.id) for a in ready}
        work = partial(_read_all, ready, changes, before, pod.monitor is None)
        found, made = await NetnsExecutor((ready[0].pod.netns,)).run(work, last=True)
        for attachment in self._ready(pod_id):  # not one that is being returned meanwhile
            if attachment.id in found:
                self._report(attachment, before[attachment.id], found[attachment.id])
        if made is not None:
            await self._listen(pod_id, pod, made)

    async def _listen(self, pod_id: str, pod: _Pod, made: socket.socket) -> None:
        """Start a monitor on the socket, which queues events while pyroute2 is imported."""
        try:
            await executors.kernel(link_monitor.load)
        except BaseException:
            made.close()
            raise
        if self._pods.get(pod_id) is not pod:  # the pod has no devices any more
            made.close()
            return
        pod.monitor = LinkMonitor(made, partial(self._look_soon, pod_id))
        await pod.monitor.start()

    def _report(self, attachment: Attachment, before: Presence, now: Presence) -> None:
        self._known[attachment.id] = now
        if now == before:
            return
        new = [c for c in now.conditions if c not in before.conditions]
        self._metrics.change(new or ["back"])
        log.log(
            logging.WARNING if new else logging.INFO,
            "network device %s",
            f"in its pod: {now}" if now.conditions else "as attached again",
            extra={
                "device": attachment.device,
                "interface": attachment.name,
                "pod": attachment.pod.id,
                "attachment": attachment.id,
                "before": str(before),
            },
        )


def _read_all(
    ready: Sequence[Attachment],
    changes: Sequence[LinkChange],
    before: dict[str, Presence],
    listen: bool,
    pod: Netns,
) -> _Read:
    """The devices' presence by attachment id and, if listen, a socket for later link events. Raises OSError."""
    if pod.inode != ready[0].netns_inode:
        raise OSError("the pod's network namespace is another one now")
    with contextlib.ExitStack() as stack:
        made = link_monitor.open_socket() if listen else None
        if made is not None:
            stack.callback(made.close)
        found = {a.id: presence.look(a, pod, changes, before[a.id]) for a in ready}
        stack.pop_all()
        return found, made
