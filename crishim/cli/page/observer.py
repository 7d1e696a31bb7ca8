"""Keeps the rendered parts of the page current: asks the daemon after each event, and every POLL seconds, while the
page has readers. Without readers it only records events.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncGenerator

from crishim.cli import events
from crishim.cli.page import facts
from crishim.cli.page.calls import Calls, DaemonError
from crishim.cli.page.facts import Answers, NodeFacts
from crishim.cli.page.history import History
from crishim.cli.page.markup import Markup
from crishim.cli.page.sections import render
from crishim.pb import admin_pb2 as admin
from crishim.pb import cri_pb2 as cri

POLL = 2.0  # seconds between updates while there are readers: links, addresses and carriers send no event
PAUSE = 0.2  # seconds at least between updates: events meanwhile are one change
RETRY = 1.0  # seconds until a stream that ended is opened again
FRESH = 0.5  # seconds in which several readers get the same update


class Observer:
    """The current parts of the page; readers wait for changes."""

    def __init__(self, calls: Calls) -> None:
        self.parts: dict[str, Markup] = render(NodeFacts(silence="it has not been asked yet"))
        self._calls = calls
        self._history = History()
        self._node = NodeFacts()
        self._details: dict[str, tuple[str, cri.PodSandboxStatusResponse]] = {}
        self._updated_at = 0.0
        self._updating = asyncio.Lock()
        self._event = asyncio.Event()
        self._changed = asyncio.Condition()
        self._readers = 0

    async def run(self) -> None:
        """Follow the daemon, also over its restarts, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_events())
            group.create_task(self._follow_devices())
            group.create_task(self._keep_updating())

    async def fresh(self) -> dict[str, Markup]:
        """The parts, at most FRESH seconds old."""
        await self._update(FRESH)
        return self.parts

    async def changes(self, known: dict[str, str]) -> AsyncGenerator[dict[str, Markup], None]:
        """The parts that changed for a reader, each time some do. known: marks (mark()) by part, updated here. A slow
        reader gets only the last of several changes."""
        self._readers += 1
        self._event.set()
        try:
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda: any(mark(p) != known.get(n) for n, p in self.parts.items()))
                new = {name: part for name, part in self.parts.items() if mark(part) != known.get(name)}
                known.update({name: mark(part) for name, part in new.items()})
                yield new
        finally:
            self._readers -= 1

    async def start_of(self, pod_id: str) -> admin.PodStart | None:
        """A pod's start, None if it is not kept. Raises DaemonError."""
        answer = await self._calls.ask("ListPodStarts", admin.ListPodStartsRequest(pod=pod_id))
        return next(iter(answer.starts), None)

    async def _keep_updating(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._event.wait()
            self._event.clear()
            if self._readers:
                await self._update()
            await asyncio.sleep(PAUSE)

    async def _update(self, fresh: float = 0.0) -> None:
        """Ask the daemon, unless that was done within the last `fresh` seconds; notify readers of changes."""
        async with self._updating:
            if fresh and time.monotonic() - self._updated_at < fresh:
                return
            try:
                self._node = facts.read(await self._ask(), self._history.ways, self._history.events)
            except DaemonError as error:
                self._node = self._node._replace(silence=str(error))
            self._updated_at = time.monotonic()
            parts = render(self._node)
            if parts != self.parts:
                async with self._changed:
                    self.parts = parts
                    self._changed.notify_all()

    async def _ask(self) -> Answers:
        ask = self._calls.ask
        pods = (await ask("ListPodSandbox", cri.ListPodSandboxRequest())).items
        containers = (await ask("ListContainers", cri.ListContainersRequest())).containers
        return Answers(
            version=await ask("Version", cri.VersionRequest()),
            status=await ask("Status", cri.StatusRequest()),
            pods=pods,
            details=await self._ask_details(pods, containers),
            containers=containers,
            devices=(await ask("ListNetDevices", admin.ListNetDevicesRequest())).devices,
            links=(await ask("ListHostLinks", admin.ListHostLinksRequest())).links,
            starts=(await ask("ListPodStarts", admin.ListPodStartsRequest())).starts,
        )

    async def _ask_details(
        self, pods: list[cri.PodSandbox], containers: list[cri.Container]
    ) -> dict[str, cri.PodSandboxStatusResponse]:
        """The verbose status of the shown pods; asked again if the state of pod or containers has changed."""
        known, self._details = self._details, {}
        for pod in facts.shown_pods(pods):
            mark = f"{pod.state} {[(c.id, c.state) for c in containers if c.pod_sandbox_id == pod.id]}"
            found = known.get(pod.id)
            if found is None or found[0] != mark:
                request = cri.PodSandboxStatusRequest(pod_sandbox_id=pod.id, verbose=True)
                with contextlib.suppress(DaemonError):  # it was removed meanwhile
                    found = (mark, await self._calls.ask("PodSandboxStatus", request))
            if found is not None:
                self._details[pod.id] = found
        return {id: details for id, (_, details) in self._details.items()}

    async def _follow_events(self) -> None:
        while True:
            with contextlib.suppress(DaemonError):
                async for event in self._calls.follow("GetContainerEvents", cri.GetEventsRequest()):
                    self._history.add_event(events.line(event))
                    self._event.set()
            self._event.set()
            await asyncio.sleep(RETRY)

    async def _follow_devices(self) -> None:
        """Ends if an older daemon does not have the RPC; states are then known from updates only."""
        while True:
            try:
                request = admin.StreamNetDeviceChangesRequest()
                async for change in self._calls.follow("StreamNetDeviceChanges", request):
                    self._history.add_change(change)
                    self._event.set()
            except DaemonError as error:
                if error.missing:
                    return
            await asyncio.sleep(RETRY)


def mark(part: Markup) -> str:
    """A hash of a part, to detect changes."""
    return hashlib.sha256(part.encode()).hexdigest()
