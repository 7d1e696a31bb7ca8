"""The few CRI calls crictl makes for exec, attach and port-forward, in front of a real streaming server."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from crishim.cri.stream.server import StreamServer
from crishim.errors import CrishimError
from crishim.pb import cri_pb2 as cri

Methods = dict[str, tuple[Any, Callable[[Any], Awaitable[Any]]]]  # by name: the request's class, what answers
RunSync = Callable[[cri.ExecSyncRequest], Awaitable[cri.ExecSyncResponse]]


class StreamingCri:
    """A gRPC server on a unix socket. run_sync answers ExecSync."""

    def __init__(self, streams: StreamServer, run_sync: RunSync) -> None:
        self._streams = streams
        self._run_sync = run_sync
        self._server = grpc.aio.server()
        self.endpoint = ""

    async def start(self, socket: str) -> None:
        calls: Methods = {
            "Version": (cri.VersionRequest, self._version),
            "ExecSync": (cri.ExecSyncRequest, self._run_sync),
            "Exec": (cri.ExecRequest, self._exec),
            "Attach": (cri.AttachRequest, self._attach),
            "PortForward": (cri.PortForwardRequest, self._port_forward),
        }
        # crictl asks to see who is there
        images: Methods = {"ImageFsInfo": (cri.ImageFsInfoRequest, self._image_fs_info)}
        for service, methods in (("RuntimeService", calls), ("ImageService", images)):
            handlers = {name: handler(request, work) for name, (request, work) in methods.items()}
            self._server.add_generic_rpc_handlers(
                [grpc.method_handlers_generic_handler(f"runtime.v1.{service}", handlers)]
            )
        self.endpoint = f"unix://{socket}"
        self._server.add_insecure_port(self.endpoint)
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    async def _version(self, request: cri.VersionRequest) -> cri.VersionResponse:
        return cri.VersionResponse(
            version="0.1.0", runtime_name="fake", runtime_version="1.0.0", runtime_api_version="v1"
        )

    async def _image_fs_info(self, request: cri.ImageFsInfoRequest) -> cri.ImageFsInfoResponse:
        return cri.ImageFsInfoResponse()

    async def _exec(self, request: cri.ExecRequest) -> cri.ExecResponse:
        return cri.ExecResponse(url=self._streams.exec_url(request))

    async def _attach(self, request: cri.AttachRequest) -> cri.AttachResponse:
        return cri.AttachResponse(url=self._streams.attach_url(request))

    async def _port_forward(self, request: cri.PortForwardRequest) -> cri.PortForwardResponse:
        return cri.PortForwardResponse(url=self._streams.port_forward_url(request))


def handler(request: Any, work: Callable[[Any], Awaitable[Any]]) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        told(work), request_deserializer=request.FromString, response_serializer=lambda m: m.SerializeToString()
    )


def told(work: Callable[[Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    """The call, with our errors turned into gRPC's."""

    async def call(request: Any, context: Any) -> Any:
        try:
            return await work(request)
        except CrishimError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)

    return call
