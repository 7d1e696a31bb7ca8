"""Send one event to the subscribed plugins, one after the other, and handle refusals and missing answers.

A plugin's error ends the round and fails the request, except for notices, which every plugin gets. A plugin that does
not answer is disconnected and the round continues without it, unless its failure policy says otherwise.
"""

import asyncio
import logging
from typing import Any

from crishim.errors import CrishimError, Kind
from crishim.nri.connection import Refused, TimedOut, TooLarge, Unanswered
from crishim.nri.events import Event
from crishim.nri.plugin import Plugin
from crishim.nri.roster import Roster
from crishim.nri.ttrpc import Code

log = logging.getLogger("crishim.nri")

# A plugin's error is never NOT_FOUND or DEADLINE to the client: the kubelet would take the pod for removed, or retry at
# once.
KINDS = {
    Code.INVALID_ARGUMENT: Kind.INVALID,
    Code.PERMISSION_DENIED: Kind.DENIED,
    Code.RESOURCE_EXHAUSTED: Kind.EXHAUSTED,
    Code.FAILED_PRECONDITION: Kind.PRECONDITION,
    Code.UNAVAILABLE: Kind.UNAVAILABLE,
}


class EventDispatch:
    def __init__(self, roster: Roster, timeout: float) -> None:
        """timeout: seconds a plugin has for one event."""
        self.roster = roster
        self._timeout = timeout

    async def tell(self, event: Event, request: Any) -> None:
        """Send an event to all subscribed plugins. Raises CrishimError if one refuses; those after it do not get it."""
        for plugin in self.roster.subscribed(event):
            await self.ask(plugin, event, request)

    async def notify(self, event: Event, request: Any) -> list[tuple[Plugin, Any]]:
        """Send an event to all subscribed plugins; returns their answers. Errors are logged, not raised."""
        answers = []
        for plugin in self.roster.subscribed(event):
            try:
                answer = await self.ask(plugin, event, request)
            except CrishimError as error:
                log.warning("an NRI plugin failed to take notice", extra=about(plugin, event, request, error))
            else:
                answers += [(plugin, answer)] if answer is not None else []
        return answers

    async def ask(self, plugin: Plugin, event: Event, request: Any) -> Any:
        """One plugin's answer; None if there is none and its policy ignores that. Raises CrishimError otherwise."""
        try:
            return await plugin.tell(event, request, self._timeout)
        except Refused as error:
            raise CrishimError(
                KINDS.get(Code(error.code) if error.code in list(Code) else Code.UNKNOWN, Kind.INTERNAL),
                f"NRI plugin {plugin.label} refused {event.method}: {error}",
                plugin=plugin.label,
                hook=event.method,
            ) from error
        except TooLarge as error:
            raise CrishimError(
                Kind.EXHAUSTED,
                f"NRI plugin {plugin.label} cannot be told of {event.method}: {error}",
                plugin=plugin.label,
                hook=event.method,
            ) from error
        except Unanswered as error:
            return self._no_answer(plugin, event, request, error)

    def _no_answer(self, plugin: Plugin, event: Event, request: Any, error: Unanswered) -> None:
        late = isinstance(error, TimedOut)
        if late and plugin.policy.keep_connected:
            log.warning("an NRI plugin gave no answer", extra=about(plugin, event, request, error))
        else:
            plugin.connection.close(str(error))
        if plugin.policy.fail_request:
            raise CrishimError(
                Kind.DEADLINE if late else Kind.UNAVAILABLE,
                f"NRI plugin {plugin.label} must be asked for {event.method}, and {error}",
                plugin=plugin.label,
                hook=event.method,
            )


def about(plugin: Plugin, event: Event, request: Any, error: Exception) -> dict[str, object]:
    """The facts of a log line."""
    facts: dict[str, object] = {"plugin": plugin.label, "hook": event.method, "pod": request.pod.id}
    if "container" in request.DESCRIPTOR.fields_by_name:
        facts["container"] = request.container.id
    return facts | {"error": str(error)}


async def gather(work: list[Any]) -> list[Any]:
    """Run all concurrently; raises the first error after all have ended."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
