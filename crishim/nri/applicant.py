"""One plugin's way from its connection to the list of those that are called, and to its end.

    registers itself, within the registration timeout; a launched one's name is its program's
    is configured, and says which events it wants
    is put into the list, in a moment when no request is inside the gate, with its lock held: its hooks queue up
    is told what there was in that moment (Synchronize), within the registration timeout once more
    is called, until its connection is closed by either side

Each plugin goes its way in a task of its own: one that is silent, or slow, waits alone.
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
    """What is known of a plugin before it registers."""

    index: str
    name: str
    path: str
    config: str  # text of its configuration file


class Office(Protocol):
    """What an applicant is taken in by."""

    settings: DriverSettings
    roster: Roster
    gate: Gate

    async def pods_and_containers(self) -> tuple[list[nri.PodSandbox], list[nri.Container]]: ...

    async def update_containers(self, plugin: Plugin, request: nri.UpdateContainersRequest) -> Message: ...


class Unfit(Exception):
    """The plugin goes no further; the text says why, as the end of "it ..."."""


class Applicant:
    def __init__(self, office: Office, launched: LaunchedPlugin | None = None) -> None:
        self._office = office
        self._launched = launched
        self._registered: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        self._plugin: Plugin | None = None
        self.ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()  # False: it never will be

    async def serve(self, method: str, payload: bytes) -> Message:
        """The Runtime service."""
        if method == "RegisterPlugin":
            return self._register(nri.RegisterPluginRequest.FromString(payload))
        request = nri.UpdateContainersRequest.FromString(payload)
        if self._plugin is None or self._plugin.state == REGISTERING:
            raise CrishimError(Kind.PRECONDITION, "a plugin must register before it updates containers")
        return await self._office.update_containers(self._plugin, request)

    async def run(self, connection: PluginConnection) -> None:
        """Go the whole way; returns when the connection is closed, and closes it when cancelled. Never raises."""
        try:
            plugin = self._plugin = await self._enter(connection)
            async with plugin.locked():
                updates = await self._join(plugin)
            plugin.state = READY
            self.ready.set_result(True)
            log.info("an NRI plugin is ready", extra=facts(plugin))
            if updates:
                await self._office.update_containers(plugin, nri.UpdateContainersRequest(update=updates))
            await asyncio.wait([connection.closed])
        except Unfit as error:
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
            self._office.roster.remove(self._plugin)
            about["plugin"] = self._plugin.label
        if self._registered.done() and not self._registered.cancelled():
            self._registered.exception()  # it has been told
        log.info("an NRI plugin is gone", extra=about)

    def _register(self, request: nri.RegisterPluginRequest) -> nri.Empty:
        index, name = request.plugin_idx, request.plugin_name
        if self._launched:
            index, name = self._launched.index, self._launched.name
        if self._registered.done():
            log.warning("an NRI plugin registers twice", extra={"index": index[:9], "plugin_name": name[:MAX_NAME]})
            raise CrishimError(Kind.PRECONDITION, "the plugin has registered before")
        if why := bad_name(index, name):
            self._registered.set_exception(Unfit(why))
            raise CrishimError(Kind.INVALID, f"the plugin {why}")
        self._registered.set_result((index, name))
        return nri.Empty()

    async def _enter(self, connection: PluginConnection) -> Plugin:
        """Registered and configured."""
        timeout = self._office.settings.registration_timeout
        waits: list[asyncio.Future[Any]] = [self._registered, connection.closed]
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not self._registered.done():
            raise Unfit(connection.reason or f"did not register within {timeout:g} s")
        index, name = self._registered.result()
        plugin = Plugin(name, index, connection, self._launched.path if self._launched else "")
        self._office.roster.arrive(plugin)
        self._plugin = plugin
        await self._configure(plugin)
        return plugin

    async def _configure(self, plugin: Plugin) -> None:
        settings = self._office.settings
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
            raise Unfit(f"refused Configure: {error}") from error
        except Unanswered as error:
            raise Unfit(str(error)) from error
        if unknown := answer.events & ~events.ALL:
            raise Unfit(f"subscribes to events nobody knows: {unknown & 0xFFFFFFFF:#x}")
        plugin.subscribe(answer.events, answer.failure_policy)

    async def _join(self, plugin: Plugin) -> list[nri.ContainerUpdate]:
        """In the list and synchronized; we hold the plugin's lock. What it asks for of the containers it was told."""
        settings = self._office.settings
        async with self._office.gate.alone():
            pods, containers = await self._office.pods_and_containers()
            plugin.state = SYNCHRONIZING
            self._office.roster.add(plugin)
        timeout = max(settings.registration_timeout, settings.request_timeout)
        try:
            return await synchronize(plugin, pods, containers, timeout)
        except Refused as error:
            raise self._unfit(plugin, f"refused Synchronize: {error}") from error
        except (Unanswered, CannotSynchronize, TooLarge) as error:
            raise self._unfit(plugin, str(error)) from error

    def _unfit(self, plugin: Plugin, why: str) -> Unfit:
        """Closed before its lock is released: hooks that wait for it must not reach it."""
        plugin.connection.close(why)
        return Unfit(why)


def bad_name(index: str, name: str) -> str:
    """What is wrong with a plugin's name or index, as the end of "it ..."; "" if nothing is."""
    if not _INDEX.fullmatch(index):
        return f'registers with the index "{index[:MAX_NAME]}", which is not two digits'
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        return f'registers with the name "{name[:MAX_NAME]}", not 1 to {MAX_NAME} of letters, digits and "-_.+"'
    return ""


def facts(plugin: Plugin) -> dict[str, object]:
    """Of a log line."""
    return {"plugin": plugin.label, "pid": plugin.connection.pid, "events": ", ".join(plugin.status().events)}
