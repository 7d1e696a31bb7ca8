"""Port forwarding over WebSocket channels (the old form): one connection for each requested port, on two channels."""

import asyncio
from collections.abc import Sequence

from crishim.cri.stream.connection import Connection
from crishim.cri.stream.portforward.copy import connected, copy_in
from crishim.cri.stream.runtime import StreamingRuntime
from crishim.cri.stream.websocket.channels import Channels
from crishim.cri.stream.websocket.protocol import WebSocket
from crishim.errors import CrishimError


class WebSocketForwarder:
    """Serves one client: channel 2n carries the data of port n, channel 2n + 1 its error text."""

    def __init__(
        self,
        connection: Connection,
        socket: WebSocket,
        surplus: bytes,
        subprotocol: str,
        ports: Sequence[int],
        runtime: StreamingRuntime,
        pod_id: str,
    ) -> None:
        self._channels = Channels(connection, socket, surplus, subprotocol, range(0, 2 * len(ports), 2))
        self._ports = ports
        self._runtime = runtime
        self._pod_id = pod_id

    async def serve(self) -> None:
        """Serve until every port's connection has ended, or ConnectionEnded (in a group)."""
        async with asyncio.TaskGroup() as group:
            carrying = group.create_task(self._channels.run())
            for number, port in enumerate(self._ports):
                for channel in (2 * number, 2 * number + 1):
                    await self._channels.write(channel, port.to_bytes(2, "little"))
            await asyncio.wait([group.create_task(self._forward(n, port)) for n, port in enumerate(self._ports)])
            await self._channels.close()
            carrying.cancel()

    async def _forward(self, number: int, port: int) -> None:
        channel = 2 * number
        try:
            async with connected(self._runtime, self._pod_id, port) as connection:
                inward = asyncio.create_task(copy_in(lambda: self._channels.read(channel), connection))
                try:
                    await self._channels.write_from(channel, connection)
                finally:
                    inward.cancel()
                    await asyncio.gather(inward, return_exceptions=True)
        except CrishimError as failure:
            text = f"error forwarding port {port} to pod {self._pod_id}: {failure.message}"
            await self._channels.write(channel + 1, text.encode())
        self._channels.end(channel)
