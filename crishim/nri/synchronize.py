"""Synchronize: send a plugin the existing pods and containers, in as few parts as the message size allows.

All parts but the last have `more` set, and the plugin must set it in each answer: else it does not support parts.
"""

import asyncio
from collections.abc import Sequence

from crishim.nri.connection import Refused, TimedOut
from crishim.nri.plugin import Plugin
from crishim.nri.ttrpc import MAX_BODY
from crishim.pb import nri_pb2 as nri

ROOM = 1 << 10  # bytes of a message beside the payload
PART = MAX_BODY - ROOM


class CannotSynchronize(Exception):
    """The plugin cannot be synchronized; the text is the reason, to follow "it"."""


def parts(pods: Sequence[nri.PodSandbox], containers: Sequence[nri.Container]) -> list[nri.SynchronizeRequest]:
    """All objects, pods first, in requests of at most PART bytes. Raises CannotSynchronize for a larger object."""
    made = [nri.SynchronizeRequest()]
    size = 0
    items: list[nri.PodSandbox | nri.Container] = [*pods, *containers]
    for item in items:
        length = item.ByteSize() + 8  # its tag and length before it
        if length > PART:
            raise CannotSynchronize(f"cannot be told of {item.id}: {length} bytes")
        if size + length > PART:
            made[-1].more = True
            made.append(nri.SynchronizeRequest())
            size = 0
        if isinstance(item, nri.PodSandbox):
            made[-1].pods.append(item)
        elif isinstance(item, nri.Container):
            made[-1].containers.append(item)
        size += length
    return made


async def synchronize(
    plugin: Plugin, pods: Sequence[nri.PodSandbox], containers: Sequence[nri.Container], timeout: float
) -> list[nri.ContainerUpdate]:
    """Send all parts; returns the updates the plugin requests. timeout: seconds for all parts. The caller holds its
    lock.

    Raises CannotSynchronize, Refused, TimedOut, Unanswered.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    answer = nri.SynchronizeResponse()
    for request in parts(pods, containers):
        left = end - loop.time()
        if left <= 0:
            raise TimedOut(f"did not answer Synchronize within {timeout:g} s")
        answer = await plugin.call_now("Synchronize", request, nri.SynchronizeResponse, left)
        if answer.more != request.more:
            raise CannotSynchronize("does not take Synchronize in parts")
        if request.more and answer.update:
            raise CannotSynchronize("asks for updates before it has seen all containers")
    return list(answer.update)


__all__ = ["CannotSynchronize", "Refused", "parts", "synchronize"]
