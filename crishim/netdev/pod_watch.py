"""The devices in their pods, watched while the daemon runs: one that vanishes, goes down or is renamed is in the log,
in the metrics and in what is listed within a second.

A monitor in each pod that has devices (linux/netlink/link_monitor.py) says when to look; what is true is read, by the
device's identity, since a pod forges every other sign. A pod is looked at once in PAUSE at most, one pod after the
other, so that one that changes its links ten thousand times a second costs a look and a line of the log a second. Its
socket would keep the pod's namespace: it is closed when the pod's last device leaves READY, before CNI DEL.
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
PAUSE = 0.8  # seconds between two looks at a pod
SETTLING = 0.05  # seconds between a change and the look: links are changed several times at once
RETRY = 10.0  # seconds after a look that failed

_Read = tuple[dict[str, Presence], socket.socket | None]


class _Pod:
    """One that has devices. free: when it may be looked at again, by the loop's clock."""

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
        self._due: dict[str, float] = {}  # pods to look at, and not before when
        self._known: dict[str, Presence] = {}  # by attachment
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
        await asyncio.sleep(0)  # asyncio closes a transport in its next turn

    def presence(self, attachment_id: str) -> Presence:
        """As it was last looked at. From memory, for any thread."""
        return self._known.get(attachment_id, ATTACHED)

    def _ready(self, pod_id: str) -> list[Attachment]:
        return [a for a in self._journal.all(pod_id) if a.state is State.READY]

    def _note(self, pod_id: str) -> None:
        """The pod's devices, or their states, are others."""
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
                self._give_up(pod_id, pod)
            ready = self._ready(pod_id)
            if ready:
                await self._read(pod_id, pod, ready, changes)
        except (CrishimError, OSError, ImportError) as error:
            log.warning("a pod's devices cannot be looked at", extra={"pod": pod_id, "error": str(error)})
            if self._pods.get(pod_id) is pod:
                self._due[pod_id] = asyncio.get_running_loop().time() + RETRY

    def _give_up(self, pod_id: str, pod: _Pod) -> None:
        """A monitor that missed something listens no more: another is opened with this look, and one look follows."""
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
        for attachment in self._ready(pod_id):  # one that is on its way home meanwhile is not missed
            if attachment.id in found:
                self._tell(attachment, before[attachment.id], found[attachment.id])
        if made is not None:
            await self._listen(pod_id, pod, made)

    async def _listen(self, pod_id: str, pod: _Pod, made: socket.socket) -> None:
        """What happens while pyroute2 is imported waits in the socket."""
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

    def _tell(self, attachment: Attachment, before: Presence, now: Presence) -> None:
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
    """How they are; and a socket that is told of what comes after, if listen. Raises OSError."""
    if pod.inode != ready[0].netns_inode:
        raise OSError("the pod's network namespace is another one now")
    with contextlib.ExitStack() as stack:
        made = link_monitor.open_socket() if listen else None
        if made is not None:
            stack.callback(made.close)
        found = {a.id: presence.look(a, pod, changes, before[a.id]) for a in ready}
        stack.pop_all()
        return found, made
