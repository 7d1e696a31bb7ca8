"""What the daemon says of its node, rendered: looked at anew when it tells of a change, and from time to time while
somebody looks at the page. With nobody there the daemon is asked nothing; its changes are noted.
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

POLL = 2.0  # seconds between looks while somebody looks on: links, addresses and carriers send no event
PAUSE = 0.2  # seconds from one look to the next: what happens meanwhile is one change
RETRY = 1.0  # seconds until a daemon that does not answer is asked again
FRESH = 0.5  # seconds in which the same look does for several readers


class Observer:
    """The parts of the page as they are now, and who waits for their change."""

    def __init__(self, calls: Calls) -> None:
        self.parts: dict[str, Markup] = render(NodeFacts(silence="it has not been asked yet"))
        self._calls = calls
        self._history = History()
        self._node = NodeFacts()
        self._details: dict[str, tuple[str, cri.PodSandboxStatusResponse]] = {}
        self._looked = 0.0
        self._looking = asyncio.Lock()
        self._something_happened = asyncio.Event()
        self._changed = asyncio.Condition()
        self._watchers = 0

    async def run(self) -> None:
        """Follow the daemon; it may end and come back. Without an end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_events())
            group.create_task(self._follow_devices())
            group.create_task(self._keep_looking())

    async def fresh(self) -> dict[str, Markup]:
        """The parts, not older than FRESH."""
        await self._look(FRESH)
        return self.parts

    async def changes(self, known: dict[str, str]) -> AsyncGenerator[dict[str, Markup], None]:
        """The parts that are others than a reader knows, whenever there are some. known: marks (mark()) by part, kept
        up to date. A reader that is slow gets the last of several changes."""
        self._watchers += 1
        self._something_happened.set()
        try:
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda: any(mark(p) != known.get(n) for n, p in self.parts.items()))
                new = {name: part for name, part in self.parts.items() if mark(part) != known.get(name)}
                known.update({name: mark(part) for name, part in new.items()})
                yield new
        finally:
            self._watchers -= 1

    async def start_of(self, pod_id: str) -> admin.PodStart | None:
        """A pod's start, None if it is not kept. Unanswered."""
        answer = await self._calls.ask("ListPodStarts", admin.ListPodStartsRequest(pod=pod_id))
        return next(iter(answer.starts), None)

    async def _keep_looking(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._something_happened.wait()
            self._something_happened.clear()
            if self._watchers:
                await self._look()
            await asyncio.sleep(PAUSE)

    async def _look(self, fresh: float = 0.0) -> None:
        """Ask for everything, unless that was done within the last seconds; what has changed is passed on."""
        async with self._looking:
            if fresh and time.monotonic() - self._looked < fresh:
                return
            try:
                self._node = facts.read(await self._ask(), self._history.ways, self._history.events)
            except DaemonError as error:
                self._node = self._node._replace(silence=str(error))
            self._looked = time.monotonic()
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
        """The verbose status of the pods that are shown, of those anew that are in another state now."""
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
                    self._something_happened.set()
            self._something_happened.set()
            await asyncio.sleep(RETRY)

    async def _follow_devices(self) -> None:
        """An older daemon cannot tell; the states are then those of each look."""
        while True:
            try:
                request = admin.StreamNetDeviceChangesRequest()
                async for change in self._calls.follow("StreamNetDeviceChanges", request):
                    self._history.add_change(change)
                    self._something_happened.set()
            except DaemonError as error:
                if error.missing:
                    return
            await asyncio.sleep(RETRY)


def mark(part: Markup) -> str:
    """What tells a part from what it was before."""
    return hashlib.sha256(part.encode()).hexdigest()
