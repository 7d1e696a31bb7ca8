"""One plugin's connection, from registration to its end.

    it registers, within the registration timeout; a launched plugin has its program's name
    it is configured, and answers with the events it subscribes to
    it is added to the roster while no request is inside the gate, with its lock held: its events queue up
    it gets the pods and containers of that moment (Synchronize), within the registration timeout again
    it is called, until either side closes the connection

Each plugin has a task of its own: a silent or slow one delays no other.
"""

import asyncio
import logging
import re
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import Message

from crishim.errors import CrishimError, Kind
from crishim.nri import events
from crishim.nri.connection import PluginConnection, Refused, TooLarge, Unanswered
from crishim.nri.gate import Gate
from crishim.nri.plugin import Plugin
from crishim.nri.roster import Roster
from crishim.nri.settings import NRI_VERSION, DriverSettings
from crishim.nri.synchronize import CannotSynchronize, synchronize
from crishim.pb import nri_pb2 as nri

METHODS = ("RegisterPlugin", "UpdateContainers")
MAX_NAME = 128
_NAME = re.compile(r"[A-Za-z0-9_.+-]+")
_INDEX = re.compile(r"[0-9]{2}")
REGISTERING, SYNCHRONIZING, READY = "registering", "synchronizing", "ready"

log = logging.getLogger("crishim.nri")


@dataclass(frozen=True)
class LaunchedPlugin:
    """What is known of a launched plugin before it registers."""

    index: str
    name: str
    path: str
    config: str  # text of its configuration file


class RegistrationHost(Protocol):
    """What a Registration needs of the driver (plugins.py)."""

    settings: DriverSettings
    roster: Roster
    gate: Gate

    async def pods_and_containers(self) -> tuple[list[nri.PodSandbox], list[nri.Container]]: ...

    async def update_containers(self, plugin: Plugin, request: nri.UpdateContainersRequest) -> Message: ...


class RegistrationError(Exception):
    """The plugin cannot be used; the text is the reason, to follow "it"."""


class Registration:
    def __init__(self, host: RegistrationHost, launched: LaunchedPlugin | None = None) -> None:
        self._host = host
        self._launched = launched
        self._registered: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        self._plugin: Plugin | None = None
        self.ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()  # False: it ended before

    async def serve(self, method: str, payload: bytes) -> Message:
        """Serve the plugin's calls of NRI's Runtime service."""
        if method == "RegisterPlugin":
            return self._register(nri.RegisterPluginRequest.FromString(payload))
        request = nri.UpdateContainersRequest.FromString(payload)
        if self._plugin is None or self._plugin.state == REGISTERING:
            raise CrishimError(Kind.PRECONDITION, "a plugin must register before it updates containers")
        return await self._host.update_containers(self._plugin, request)

    async def run(self, connection: PluginConnection) -> None:
        """Run all steps; returns when the connection is closed, and closes it when cancelled. Never raises."""
        try:
            plugin = self._plugin = await self._enter(connection)
            async with plugin.locked():
                updates = await self._join(plugin)
            plugin.state = READY
            self.ready.set_result(True)
            log.info("an NRI plugin is ready", extra=facts(plugin))
            if updates:
                await self._host.update_containers(plugin, nri.UpdateContainersRequest(update=updates))
            await asyncio.wait([connection.closed])
        except RegistrationError as error:
            await connection.finish(str(error))
        except Exception:
            log.exception("taking an NRI plugin in failed", extra={"pid": connection.pid})
        finally:
            connection.close("was closed by the runtime")
            self._leave(connection)

    def _leave(self, connection: PluginConnection) -> None:
        if not self.ready.done():
            self.ready.set_result(False)
        about = {"pid": connection.pid, "why": connection.reason}
        if self._plugin:
            self._host.roster.remove(self._plugin)
            about["plugin"] = self._plugin.label
        if self._registered.done() and not self._registered.cancelled():
            self._registered.exception()  # retrieved: the plugin got it as an answer
        log.info("an NRI plugin is gone", extra=about)

    def _register(self, request: nri.RegisterPluginRequest) -> nri.Empty:
        index, name = request.plugin_idx, request.plugin_name
        if self._launched:
            index, name = self._launched.index, self._launched.name
        if self._registered.done():
            log.warning("an NRI plugin registers twice", extra={"index": index[:9], "plugin_name": name[:MAX_NAME]})
            raise CrishimError(Kind.PRECONDITION, "the plugin has registered before")
        if why := bad_name(index, name):
            self._registered.set_exception(RegistrationError(why))
            raise CrishimError(Kind.INVALID, f"the plugin {why}")
        self._registered.set_result((index, name))
        return nri.Empty()

    async def _enter(self, connection: PluginConnection) -> Plugin:
        """Wait until it has registered, and configure it. Raises RegistrationError."""
        timeout = self._host.settings.registration_timeout
        waits: list[asyncio.Future[Any]] = [self._registered, connection.closed]
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not self._registered.done():
            raise RegistrationError(connection.reason or f"did not register within {timeout:g} s")
        index, name = self._registered.result()
        plugin = Plugin(name, index, connection, self._launched.path if self._launched else "")
        self._host.roster.arrive(plugin)
        self._plugin = plugin
        await self._configure(plugin)
        return plugin

    async def _configure(self, plugin: Plugin) -> None:
        settings = self._host.settings
        request = nri.ConfigureRequest(
            config=self._launched.config if self._launched else "",
            runtime_name=settings.runtime_name,
            runtime_version=settings.runtime_version,
            registration_timeout=int(settings.registration_timeout * 1000),
            request_timeout=int(settings.request_timeout * 1000),
            NRI_version=NRI_VERSION,
        )
        try:
            answer = await plugin.call("Configure", request, nri.ConfigureResponse, settings.request_timeout)
        except (Refused, TooLarge) as error:
            raise RegistrationError(f"refused Configure: {error}") from error
        except Unanswered as error:
            raise RegistrationError(str(error)) from error
        if unknown := answer.events & ~events.ALL:
            raise RegistrationError(f"subscribes to events nobody knows: {unknown & 0xFFFFFFFF:#x}")
        plugin.subscribe(answer.events, answer.failure_policy)

    async def _join(self, plugin: Plugin) -> list[nri.ContainerUpdate]:
        """Add it to the roster and synchronize it; returns the updates it requests. The caller holds its lock."""
        settings = self._host.settings
        async with self._host.gate.exclusive():
            pods, containers = await self._host.pods_and_containers()
            plugin.state = SYNCHRONIZING
            self._host.roster.add(plugin)
        timeout = max(settings.registration_timeout, settings.request_timeout)
        try:
            return await synchronize(plugin, pods, containers, timeout)
        except Refused as error:
            raise self._unfit(plugin, f"refused Synchronize: {error}") from error
        except (Unanswered, CannotSynchronize, TooLarge) as error:
            raise self._unfit(plugin, str(error)) from error

    def _unfit(self, plugin: Plugin, why: str) -> RegistrationError:
        """Close the connection before the plugin's lock is released: queued events must not be sent to it."""
        plugin.connection.close(why)
        return RegistrationError(why)


def bad_name(index: str, name: str) -> str:
    """What is wrong with a plugin's name or index, to follow "it"; "" if nothing is."""
    if not _INDEX.fullmatch(index):
        return f'registers with the index "{index[:MAX_NAME]}", which is not two digits'
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        return f'registers with the name "{name[:MAX_NAME]}", not 1 to {MAX_NAME} of letters, digits and "-_.+"'
    return ""


def facts(plugin: Plugin) -> dict[str, object]:
    """The facts of a log line about a plugin."""
    return {"plugin": plugin.label, "pid": plugin.connection.pid, "events": ", ".join(plugin.status().events)}
