"""StreamNetDeviceChanges: each state change of a network device, as the journal writes it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from crishim.netdev.records import Attachment
from crishim.node import Node
from crishim.pb import admin_pb2 as admin


async def StreamNetDeviceChanges(
    node: Node, request: admin.StreamNetDeviceChangesRequest
) -> AsyncIterator[admin.NetDeviceChange]:
    loop = asyncio.get_running_loop()
    with node.subscribers.subscribed() as subscriber:

        def on_change(attachment: Attachment) -> None:
            with contextlib.suppress(RuntimeError):  # the event loop is closed, the client disconnected
                loop.call_soon_threadsafe(subscriber.put, describe(attachment))

        with node.netdevices.listening(on_change):
            async for change in node.subscribers.changes(subscriber):
                yield change


def describe(attachment: Attachment) -> admin.NetDeviceChange:
    """The message for an attachment's change to its current state."""
    return admin.NetDeviceChange(
        id=attachment.id,
        host_name=attachment.host.name,
        name=attachment.name,
        pod_sandbox_id=attachment.pod.id,
        pod=str(attachment.pod),
        state=str(attachment.state),
        at=attachment.changed or time.time_ns(),
    )
