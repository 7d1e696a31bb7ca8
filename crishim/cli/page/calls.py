"""Call the daemon's RPCs by name, over its socket, with asyncio."""

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from google.protobuf import message_factory

from crishim.cri.services import SERVICES

if TYPE_CHECKING:
    import grpc.aio

PATIENCE = 30.0  # seconds for a response
_METHODS = {method.name: method for service in SERVICES for method in service.methods}
_OPTIONS = [
    ("grpc.max_receive_message_length", 64 << 20),  # lists of a full node are larger than gRPC's default of 4 MB
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),  # a restarted daemon is back within seconds
]


class DaemonError(Exception):
    """The daemon returned an error, or did not answer; the text has the reason. missing: it does not have this RPC."""

    def __init__(self, text: str, *, missing: bool = False) -> None:
        super().__init__(text)
        self.missing = missing


class Calls:
    def __init__(self, channel: "grpc.aio.Channel") -> None:
        self._channel = channel

    async def ask(self, name: str, request: Any) -> Any:
        """Call a unary RPC. Raises DaemonError."""
        with _errors(name):
            return await self._function("unary_unary", name, request)(request, timeout=PATIENCE)

    async def follow(self, name: str, request: Any) -> AsyncIterator[Any]:
        """The responses of a streaming RPC, until the daemon ends it. Raises DaemonError."""
        with _errors(name):
            async for answer in self._function("unary_stream", name, request)(request):
                yield answer

    def _function(self, kind: str, name: str, request: Any) -> Any:
        method = _METHODS[name]
        return getattr(self._channel, kind)(
            f"/{method.containing_service.full_name}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )


@contextlib.contextmanager
def _errors(name: str) -> Iterator[None]:
    import grpc.aio

    try:
        yield
    except grpc.aio.AioRpcError as error:
        missing = error.code() is grpc.StatusCode.UNIMPLEMENTED
        raise DaemonError(f"{name}: {error.details()}", missing=missing) from error


@contextlib.asynccontextmanager
async def connected(socket: str) -> AsyncIterator[Calls]:
    """Calls over a daemon's socket; the daemon need not run yet, and may be restarted."""
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    import grpc.aio

    async with grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS) as channel:
        yield Calls(channel)
