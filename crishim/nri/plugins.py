"""The node's NRI plugins: the interface of this driver. One coroutine an event, with the event's name.

Each returns when all plugins subscribed to the event have answered; without any at once, but create_container runs the
default validator, if enabled. A request holds the gate (requests()) around an event and the change that makes the pod
or container visible or invisible in RuntimeOperations.pods_and_containers().
"""

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from google.protobuf.message import Message

from crishim.errors import CrishimError
from crishim.linux import executors
from crishim.nri import creation, events, launch
from crishim.nri.connection import PluginConnection
from crishim.nri.creation import Changes, Creation, Update
from crishim.nri.event_dispatch import EventDispatch
from crishim.nri.events import Event
from crishim.nri.gate import Gate
from crishim.nri.listener import PluginListener
from crishim.nri.plugin import Counters, Plugin, PluginStatus
from crishim.nri.registration import METHODS, LaunchedPlugin, Registration
from crishim.nri.roster import Roster
from crishim.nri.settings import DriverSettings
from crishim.pb import nri_pb2 as nri

MAX_CONNECTIONS = 128

log = logging.getLogger("crishim.nri")

__all__ = ["Changes", "Creation", "DriverSettings", "PluginStatus", "Plugins", "RuntimeOperations", "Update"]


class RuntimeOperations(Protocol):
    """The node's operations that plugins use."""

    async def pods_and_containers(self) -> tuple[list[nri.PodSandbox], list[nri.Container]]:
        """All pods and containers, for a new plugin. Must be quick and not use requests(): the gate is held."""

    async def update_container(self, update: nri.ContainerUpdate) -> None:
        """Change a container's resources. Raises CrishimError."""

    async def evict_container(self, eviction: nri.ContainerEviction) -> None:
        """Stop a container because a plugin evicts it. Raises CrishimError."""


class Plugins:
    def __init__(self, settings: DriverSettings) -> None:
        """Nothing is opened before start()."""
        self.settings = settings
        self.roster = Roster()
        self.gate = Gate(settings.registration_timeout)
        self._dispatch = EventDispatch(self.roster, settings.request_timeout)
        self._runtime: RuntimeOperations | None = None
        self._listener: PluginListener | None = None
        self._programs: list[launch.PluginProcess] = []
        self._registrations: set[asyncio.Task[None]] = set()

    async def start(self, runtime: RuntimeOperations) -> None:
        """Launch the directory's plugins concurrently, wait until each is ready or has failed; then listen.

        A plugin that cannot be launched is logged. Raises PRECONDITION if the socket cannot be made.
        """
        self._runtime = runtime
        directory, config = self.settings.plugin_directory, self.settings.config_directory
        if directory:
            programs = await executors.records(launch.found, directory, config)
            await asyncio.gather(*(self._launch(program) for program in programs))
        if self.settings.socket:
            self._listener = PluginListener(self.settings.socket)
            await self._listener.open(lambda: self._connection(Registration(self)))

    async def close(self) -> None:
        """Close the socket and every connection, kill launched plugins. Idempotent."""
        if self._listener:
            await self._listener.close()
        for task in self._registrations:
            task.cancel()
        if self._registrations:
            await asyncio.wait(self._registrations)
        await asyncio.gather(*(program.end() for program in self._programs))
        self._programs.clear()

    def requests(self) -> AbstractAsyncContextManager[None]:
        """The context of a request: no plugin is added meanwhile. It may be entered again inside."""
        return self.gate.shared()

    @property
    def active(self) -> bool:
        """Whether events have an effect: a plugin is in the roster, or the default validator is enabled.

        Read it inside requests(), so that no plugin is added between it and the event.
        """
        return bool(self.roster.all()) or self.settings.validator.enable

    def status(self) -> list[PluginStatus]:
        """The status of all plugins, in the order they are called; then of recently closed ones."""
        return self.roster.status()

    def totals(self) -> tuple[int, dict[str, Counters]]:
        """The number of plugins, and the counters of all since the start, by label. Thread-safe."""
        return len(self.roster), self.roster.totals()

    async def run_pod_sandbox(self, pod: nri.PodSandbox) -> None:
        """Raises CrishimError if a plugin refuses; call stop_ and remove_pod_sandbox then, for those before it."""
        await self._tell(events.RUN_POD, nri.RunPodSandboxRequest(pod=pod))

    async def update_pod_sandbox(
        self, pod: nri.PodSandbox, overhead: nri.LinuxResources, resources: nri.LinuxResources
    ) -> None:
        """Raises CrishimError if a plugin refuses."""
        await self._tell(
            events.UPDATE_POD,
            nri.UpdatePodSandboxRequest(pod=pod, overhead_linux_resources=overhead, linux_resources=resources),
        )

    async def post_update_pod_sandbox(self, pod: nri.PodSandbox) -> None:
        await self._notify(events.POST_UPDATE_POD, nri.PostUpdatePodSandboxRequest(pod=pod))

    async def stop_pod_sandbox(self, pod: nri.PodSandbox) -> None:
        await self._notify(events.STOP_POD, nri.StopPodSandboxRequest(pod=pod))

    async def remove_pod_sandbox(self, pod: nri.PodSandbox) -> None:
        await self._notify(events.REMOVE_POD, nri.RemovePodSandboxRequest(pod=pod))

    async def create_container(self, pod: nri.PodSandbox, container: nri.Container) -> Creation:
        """Raises CrishimError if a plugin refuses, two conflict, or a validator rejects the result."""
        async with self.requests():
            return await creation.create_container(self._dispatch, self.settings.validator, pod, container)

    async def post_create_container(self, pod: nri.PodSandbox, container: nri.Container) -> None:
        await self._notify(events.POST_CREATE, nri.PostCreateContainerRequest(pod=pod, container=container))

    async def start_container(self, pod: nri.PodSandbox, container: nri.Container) -> None:
        """Raises CrishimError if a plugin refuses."""
        await self._tell(events.START, nri.StartContainerRequest(pod=pod, container=container))

    async def post_start_container(self, pod: nri.PodSandbox, container: nri.Container) -> None:
        await self._notify(events.POST_START, nri.PostStartContainerRequest(pod=pod, container=container))

    async def update_container(
        self, pod: nri.PodSandbox, container: nri.Container, resources: nri.LinuxResources
    ) -> Update:
        """Raises CrishimError if a plugin refuses or two conflict."""
        async with self.requests():
            return await creation.update_container(self._dispatch, pod, container, resources)

    async def post_update_container(self, pod: nri.PodSandbox, container: nri.Container) -> None:
        await self._notify(events.POST_UPDATE, nri.PostUpdateContainerRequest(pod=pod, container=container))

    async def stop_container(self, pod: nri.PodSandbox, container: nri.Container) -> Changes:
        async with self.requests():
            return await creation.stop_container(self._dispatch, pod, container)

    async def remove_container(self, pod: nri.PodSandbox, container: nri.Container) -> None:
        await self._notify(events.REMOVE, nri.RemoveContainerRequest(pod=pod, container=container))

    async def apply(self, changes: Changes) -> None:
        """Update and evict containers as plugins requested. Errors are logged. Call it without holding locks."""
        await self._apply("", changes)

    async def pods_and_containers(self) -> tuple[list[nri.PodSandbox], list[nri.Container]]:
        """For Synchronize (registration.py)."""
        assert self._runtime is not None
        return await self._runtime.pods_and_containers()

    async def update_containers(self, plugin: Plugin, request: nri.UpdateContainersRequest) -> Message:
        """A plugin's UpdateContainers; the answer has the updates that failed."""
        failed = await self._apply(plugin.label, Changes(tuple(request.update), tuple(request.evict)))
        return nri.UpdateContainersResponse(failed=failed)

    async def _apply(self, plugin: str, changes: Changes) -> list[nri.ContainerUpdate]:
        if changes == Changes():
            return []
        assert self._runtime is not None
        failed = []
        for update in changes.updates:
            try:
                await self._runtime.update_container(update)
            except CrishimError as error:
                failed.append(update)
                about = {"plugin": plugin, "container": update.container_id, "error": str(error)}
                log.log(
                    logging.DEBUG if update.ignore_failure else logging.WARNING, "an NRI update failed", extra=about
                )
        for eviction in changes.evictions:
            about = {"plugin": plugin, "container": eviction.container_id, "reason": eviction.reason[:1000]}
            log.warning("an NRI plugin evicts a container", extra=about)
            try:
                await self._runtime.evict_container(eviction)
            except CrishimError as error:
                log.warning("an NRI eviction failed", extra=about | {"error": str(error)})
        return failed

    async def _tell(self, event: Event, request: Any) -> None:
        async with self.requests():
            await self._dispatch.tell(event, request)

    async def _notify(self, event: Event, request: Any) -> None:
        async with self.requests():
            await self._dispatch.notify(event, request)

    async def _launch(self, launched: LaunchedPlugin) -> None:
        program, registration = launch.PluginProcess(launched), Registration(self, launched)
        try:
            await program.start(lambda: self._connection(registration, program))
        except OSError as error:
            log.error("an NRI plugin cannot be launched", extra={"path": launched.path, "error": str(error)})
            return
        self._programs.append(program)
        if not await registration.ready:
            await program.end()

    def _connection(self, registration: Registration, program: launch.PluginProcess | None = None) -> PluginConnection:
        return PluginConnection(
            METHODS, registration.serve, lambda connection: self._admit(registration, connection, program)
        )

    def _admit(
        self, registration: Registration, connection: PluginConnection, program: launch.PluginProcess | None
    ) -> None:
        if program:
            connection.pid = program.pid  # SO_PEERCRED has ours: we made both ends
        if len(self._registrations) >= MAX_CONNECTIONS:
            connection.close(f"was one too many: there are {MAX_CONNECTIONS} connections")
            log.warning("an NRI plugin is turned away: there are too many", extra={"pid": connection.pid})
            return
        task = asyncio.get_running_loop().create_task(registration.run(connection), name=f"nri plugin {connection.pid}")
        self._registrations.add(task)
        task.add_done_callback(self._registrations.discard)
