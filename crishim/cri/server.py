"""The gRPC server: serves the RPC functions; gives each call its log context and task, and each error its gRPC code.

An RPC is a function of the method's name (rpcs.py): it takes the node and the request, returns the response (or is an
async generator of responses), and does not use grpc. The functions come from the gate, so that the server answers
before all are imported. A method without a function returns UNIMPLEMENTED, as the kubelet expects.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio
from google.protobuf import message_factory

from crishim.cri.call_traces import keep, parent_of
from crishim.cri.errors import CODES
from crishim.cri.gate import RpcGate
from crishim.cri.services import SERVICES, Streaming, Unary
from crishim.errors import CrishimError, Kind
from crishim.histograms import RPCS
from crishim.operations import log_context
from crishim.traces import TRACED
from crishim.tracing import Call

if TYPE_CHECKING:
    from crishim.node import Node

MESSAGE_LIMIT = 16 << 20  # bytes, the kubelet's own
MAX_MESSAGE = 2048  # characters of an error, which may quote the request; gRPC limits all headers to 8 KiB

# NOT_FOUND is an ordinary answer of these: it is logged at debug level.
QUESTIONS = ("Status", "Stats", "Metrics", "ExecSync")
# Cancelled with the client's call, as nobody else needs the result: a probe that timed out leaves no process, and a pod
# is not paused for a checkpoint beyond the deadline.
FOR_CALLER = frozenset({"ExecSync", "CheckpointPod", "RestorePod"})

log = logging.getLogger("crishim.rpc")


def make_server(gate: RpcGate) -> grpc.aio.Server:
    """A server with both CRI services and our own: each call asks the gate for its function."""
    options = [
        ("grpc.max_send_message_length", MESSAGE_LIMIT),
        ("grpc.max_receive_message_length", MESSAGE_LIMIT),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.aio.server(options=options)
    for service in SERVICES:
        handlers = {m.name: _handler(m, gate) for m in service.methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    return server


def _handler(method: Any, gate: RpcGate) -> grpc.RpcMethodHandler:
    request = message_factory.GetMessageClass(method.input_type)
    response = message_factory.GetMessageClass(method.output_type)
    wrap, make = (
        (_streaming, grpc.unary_stream_rpc_method_handler)
        if method.server_streaming
        else (_unary, grpc.unary_unary_rpc_method_handler)
    )
    return make(
        wrap(method.name, gate),
        request_deserializer=request.FromString,
        response_serializer=response.SerializeToString,
    )


def _unary(name: str, gate: RpcGate) -> Callable[..., Awaitable[Any]]:
    async def call(request: Any, context: grpc.aio.ServicerContext) -> Any:
        log_context.begin(**_ids(name, request))
        is_traced, node = name in TRACED, None
        traced = Call(name, parent_of(context.invocation_metadata()) if is_traced else None)
        try:
            with traced:
                try:
                    node, function = await gate.admit(name)
                    work = _as_coroutine(cast(Unary, function)(node, request))
                    response = await node.tasks.run(work, name=name, for_caller=name in FOR_CALLER)
                except Exception as error:
                    traced.code = _code(error).name
                    await _abort(error, context)
                    raise
        finally:
            if is_traced and node is not None:
                keep(cast("Node", node), traced, request)
        log.debug("answered", extra={"ms": round(traced.seconds * 1000, 1)})
        return response

    return call


def _streaming(name: str, gate: RpcGate) -> Callable[..., AsyncIterator[Any]]:
    async def call(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        log_context.begin(**_ids(name, request))
        started, code = time.perf_counter(), grpc.StatusCode.CANCELLED
        try:
            node, function = await gate.admit(name)
            async for response in cast(Streaming, function)(node, request):
                yield response
            code = grpc.StatusCode.OK
        except Exception as error:
            code = _code(error)
            await _abort(error, context)
            raise
        finally:
            RPCS.observe((name, code.name), time.perf_counter() - started)
        log.debug("answered", extra={"ms": round((time.perf_counter() - started) * 1000, 1)})

    return call


async def _as_coroutine(work: Awaitable[Any]) -> Any:
    return await work


async def _abort(error: Exception, context: grpc.aio.ServicerContext) -> None:
    """Log an error once and end the call with the code of its kind. Raises gRPC's AbortError."""
    if isinstance(error, grpc.aio.AbortError | asyncio.CancelledError):
        raise error
    if isinstance(error, CrishimError):
        question = error.kind is Kind.NOT_FOUND and log_context.current().get("rpc", "").endswith(QUESTIONS)
        level = logging.DEBUG if question or error.kind is Kind.UNIMPLEMENTED else logging.WARNING
        log.log(
            level, error.message, extra={"kind": str(error.kind)} | {f"fact_{k}": v for k, v in error.facts.items()}
        )
        await context.abort(CODES[error.kind], _cut(error.message))
    log.error("an error nobody expected", exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, _cut(f"{type(error).__name__}: {error}"))


def _code(error: Exception) -> grpc.StatusCode:
    return CODES[error.kind] if isinstance(error, CrishimError) else grpc.StatusCode.INTERNAL


def _cut(text: str) -> str:
    """An error's text, cut to fit gRPC's headers: a character that is not ASCII takes up to twelve bytes there."""
    return text[: MAX_MESSAGE if text.isascii() else MAX_MESSAGE // 4]


def _ids(method: str, request: Any) -> dict[str, str]:
    """The log context of a call: the RPC, and the pod and container in its request."""
    ids = {"rpc": method}
    for field, key in (("pod_sandbox_id", "pod"), ("container_id", "container")):
        value = getattr(request, field, "")
        if value:
            ids[key] = value
    return ids
