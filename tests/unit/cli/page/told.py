"""A daemon that says what a test has it say, in place of its socket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from crishim.cli.page.calls import DaemonError
from crishim.cli.page.facts import Answers
from crishim.pb import admin_pb2 as admin
from crishim.pb import cri_pb2 as cri
from tests.unit.cli.page.samples import answers


class Told:
    """answers: what it says now; silence: instead of it, why it says nothing. asked: the calls so far."""

    def __init__(self) -> None:
        self.answers: Answers = answers()
        self.silence = ""
        self.asked: list[str] = []
        self.streams: dict[str, asyncio.Queue[Any]] = {
            name: asyncio.Queue() for name in ("GetContainerEvents", "StreamNetDeviceChanges")
        }

    async def ask(self, name: str, request: Any) -> Any:
        self.asked.append(name)
        if self.silence:
            raise DaemonError(self.silence)
        a = self.answers
        if name == "PodSandboxStatus":
            return a.details[request.pod_sandbox_id]
        if name == "ListPodStarts":
            found = [s for s in a.starts if s.pod_sandbox_id.startswith(request.pod)]
            return admin.ListPodStartsResponse(starts=found)
        return {
            "Version": a.version,
            "Status": a.status,
            "ListPodSandbox": cri.ListPodSandboxResponse(items=a.pods),
            "ListContainers": cri.ListContainersResponse(containers=a.containers),
            "ListNetDevices": admin.ListNetDevicesResponse(devices=a.devices),
            "ListHostLinks": admin.ListHostLinksResponse(links=a.links),
        }[name]

    async def follow(self, name: str, request: Any) -> AsyncIterator[Any]:
        while True:
            told = await self.streams[name].get()
            if isinstance(told, DaemonError):
                raise told
            yield told
