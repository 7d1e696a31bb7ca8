"""Client of the CRI, on the daemon's socket."""

import contextlib
from collections.abc import Iterator
from typing import Any

from crishim.cli.client import CALL_TIMEOUT, open_channel
from crishim.config import Config
from crishim.errors import CrishimError, Kind

_IMAGES = frozenset({"ListImages", "ImageFsInfo"})
_MAX_ANSWER = 64 << 20  # bytes: lists of a full node are larger than gRPC's default of 4 MB


class CriClient:
    """Calls RPCs by name. Errors, also the daemon's exit, are CrishimError."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def call(self, name: str, request: Any, answer: Any) -> Any:
        return next(self._run(self._channel.unary_unary, name, request, answer, CALL_TIMEOUT))

    def stream(self, name: str, request: Any, answer: Any) -> Iterator[Any]:
        """The responses as they come, until the daemon ends the stream."""
        return self._run(self._channel.unary_stream, name, request, answer, None)

    def _run(self, kind: Any, name: str, request: Any, answer: Any, timeout: float | None) -> Iterator[Any]:
        import grpc

        service = "ImageService" if name in _IMAGES else "RuntimeService"
        method = kind(
            f"/runtime.v1.{service}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        try:
            found = method(request, timeout=timeout)
            if timeout is None:
                yield from found
            else:
                yield found
        except grpc.RpcError as error:
            raise CrishimError(Kind.INTERNAL, f"{name}: {error.details()}") from error


@contextlib.contextmanager
def connect_cri(config: Config) -> Iterator[CriClient]:
    """Raises CrishimError if no daemon answers."""
    with open_channel(config, [("grpc.max_receive_message_length", _MAX_ANSWER)]) as channel:
        yield CriClient(channel)
