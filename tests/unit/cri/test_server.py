"""RPC functions behind a real gRPC server on a unix socket: contexts, codes, deadlines."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from crishim.cri.gate import RpcGate
from crishim.cri.server import make_server
from crishim.errors import CrishimError, Kind
from crishim.operations import log_context
from crishim.pb import cri_pb2 as cri
from crishim.tracing import span
from tests.support.eventually import eventually
from tests.support.nodes import make_node

RUNTIME = "/runtime.v1.RuntimeService"


class Bench:
    """A server, and a client of it."""

    def __init__(self, socket: Path) -> None:
        self.address = f"unix:{socket}"
        self.node = make_node(socket.parent / "node")
        self.gate = RpcGate(self.node)
        self.server: Any = None
        self.channel: Any = None

    async def serve(self, **rpcs: Any) -> None:
        self.gate.open_for_reads(self.node, rpcs)
        self.gate.open()
        self.server = make_server(self.gate)
        self.server.add_insecure_port(self.address)
        await self.server.start()
        self.channel = grpc.aio.insecure_channel(self.address)

    async def call(self, name: str, request: Any, answer: Any, timeout: float = 5) -> Any:
        method = self.channel.unary_unary(
            f"{RUNTIME}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return await method(request, timeout=timeout)

    async def version(self, timeout: float = 5) -> Any:
        return await self.call("Version", cri.VersionRequest(), cri.VersionResponse, timeout)

    async def stop(self) -> None:
        if self.channel:
            await self.channel.close()
            await self.server.stop(None)
        await self.node.tasks.drain(5)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path / "s")
    yield bench
    await bench.stop()


def raising(error: Exception) -> Callable[[Any, Any], Any]:
    async def function(node: Any, request: Any) -> Any:
        raise error

    return function


@pytest.mark.parametrize("kind", list(Kind))
async def test_errors_have_the_code_of_their_kind(bench: Bench, kind: Kind) -> None:
    """And their sentence as details."""
    await bench.serve(Version=raising(CrishimError(kind, "what happened", pod="p")))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.version()
    assert caught.value.details() == "what happened"
    assert caught.value.code() is not grpc.StatusCode.OK


async def test_an_error_nobody_expected(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """INTERNAL, and a traceback in the log."""
    await bench.serve(Version=raising(KeyError("x")))
    with caplog.at_level(logging.ERROR), pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.version()
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    (line,) = [r for r in caplog.records if r.name == "crishim.rpc"]
    assert line.exc_info


async def test_what_is_not_built(bench: Bench) -> None:
    """UNIMPLEMENTED for a method without a function."""
    await bench.serve()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.version()
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_daemon_that_starts(bench: Bench) -> None:
    """Version at once, lists when the records are read, the same call a moment later; streams as well."""

    async def listing(node: Any, request: Any) -> Any:
        return cri.ListPodSandboxResponse(items=[cri.PodSandbox(id="p")])

    async def stream(node: Any, request: Any) -> AsyncIterator[Any]:
        yield cri.StreamPodSandboxesResponse(pod_sandboxes=[cri.PodSandbox(id="p")])

    bench.server = make_server(bench.gate)
    bench.server.add_insecure_port(bench.address)
    await bench.server.start()
    bench.channel = grpc.aio.insecure_channel(bench.address)
    assert (await bench.version()).runtime_name == "crishim"
    call = bench.call("ListPodSandbox", cri.ListPodSandboxRequest(), cri.ListPodSandboxResponse)
    streamed = bench.channel.unary_stream(f"{RUNTIME}/StreamPodSandboxes")(b"", timeout=5)
    asked = asyncio.ensure_future(call)
    for _ in range(3):
        await bench.version()
    assert not asked.done()
    bench.gate.open_for_reads(bench.node, {"ListPodSandbox": listing, "StreamPodSandboxes": stream})
    assert [p.id for p in (await asked).items] == ["p"]
    assert [cri.StreamPodSandboxesResponse.FromString(m).pod_sandboxes[0].id async for m in streamed] == ["p"]


async def test_a_clients_deadline_does_not_end_the_operation(bench: Bench) -> None:
    """DEADLINE_EXCEEDED for the client; the work goes to its end."""
    gate, done = asyncio.Event(), []

    async def slow(node: Any, request: Any) -> Any:
        await gate.wait()
        done.append(True)
        return cri.VersionResponse()

    await bench.serve(Version=slow)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.version(timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert done == []
    gate.set()
    await bench.node.tasks.drain(5)
    assert done == [True]


@pytest.mark.parametrize(
    ("kind", "name", "level"),
    [
        (Kind.NOT_FOUND, "ContainerStatus", logging.DEBUG),
        (Kind.NOT_FOUND, "StartContainer", logging.WARNING),
        (Kind.INVALID, "ContainerStatus", logging.WARNING),
        (Kind.UNIMPLEMENTED, "StartContainer", logging.DEBUG),
    ],
)
async def test_levels(bench: Bench, caplog: pytest.LogCaptureFixture, kind: Kind, name: str, level: int) -> None:
    """That something asked for is not there is no event of the node; that something cannot be done is."""
    await bench.serve(**{name: raising(CrishimError(kind, "why", container="c"))})
    with caplog.at_level(logging.DEBUG, "crishim.rpc"), pytest.raises(grpc.aio.AioRpcError):
        await bench.call(name, getattr(cri, f"{name}Request")(container_id="c1"), getattr(cri, f"{name}Response"))
    (line,) = [r for r in caplog.records if r.message == "why"]
    assert (line.levelno, line.kind, line.fact_container) == (level, kind, "c")  # type: ignore[attr-defined]


async def test_large_answers(bench: Bench) -> None:
    """Up to the kubelet's 16 MiB."""

    async def large(node: Any, request: Any) -> Any:
        return cri.VersionResponse(version="x" * (15 << 20))

    await bench.serve(Version=large)
    await bench.channel.close()
    options = [("grpc.max_receive_message_length", 16 << 20)]
    bench.channel = grpc.aio.insecure_channel(bench.address, options=options)
    assert len((await bench.version()).version) == 15 << 20


async def test_an_error_that_names_megabytes_is_cut(bench: Bench) -> None:
    """What the client sent may be in it: headers have 8 KiB in all, and a call whose error is larger has no error."""

    async def version(node: Any, request: cri.VersionRequest) -> cri.VersionResponse:
        raise CrishimError(Kind.INVALID, "the path " + "ü" * (4 << 20) + " is none")

    await bench.serve(Version=version)
    with pytest.raises(grpc.aio.AioRpcError, match="the path ü") as caught:
        await bench.version()
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_what_is_for_its_caller_only_ends_with_it(bench: Bench) -> None:
    """An ExecSync that its client gives up is cancelled, once; other calls go on to their end."""
    ended: list[str] = []

    async def execute(node: Any, request: cri.ExecSyncRequest) -> cri.ExecSyncResponse:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # what it does about that is not cut short
            ended.append("exec")
            raise
        raise AssertionError("unreachable")

    await bench.serve(ExecSync=execute)
    with pytest.raises(grpc.aio.AioRpcError):
        await bench.call("ExecSync", cri.ExecSyncRequest(), cri.ExecSyncResponse, timeout=0.2)
    assert await bench.node.tasks.drain(30) == []
    assert ended == ["exec"]


async def test_a_call_is_traced_below_its_client(bench: Bench) -> None:
    """With the pod that was made, whose start is kept; the trace is that of the client's traceparent."""

    async def run(node: Any, request: Any) -> Any:
        log_context.about(pod="a" * 64)
        with span("namespaces"):
            pass
        return cri.RunPodSandboxResponse(pod_sandbox_id="a" * 64)

    await bench.serve(RunPodSandbox=run)
    config = cri.PodSandboxConfig(metadata=cri.PodSandboxMetadata(name="web", namespace="default"))
    call = bench.channel.unary_unary(f"{RUNTIME}/RunPodSandbox")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    metadata = (("traceparent", f"00-{trace}-00f067aa0ba902b7-01"),)
    await call(cri.RunPodSandboxRequest(config=config).SerializeToString(), metadata=metadata, timeout=5)
    start = bench.node.traces.find("default/web")
    assert start is not None
    (kept,) = start.calls
    assert (start.pod, kept.name, kept.code, f"{kept.trace_id:x}") == ("a" * 64, "RunPodSandbox", "OK", trace)
    assert [s.name for s in kept.spans] == ["namespaces"]


async def test_a_failed_start_is_kept_with_its_code(bench: Bench) -> None:
    """Also of a pod that is gone again."""

    async def run(node: Any, request: Any) -> Any:
        log_context.about(pod="b" * 64)
        raise CrishimError(Kind.UNAVAILABLE, "no network")

    await bench.serve(RunPodSandbox=run)
    with pytest.raises(grpc.aio.AioRpcError):
        await bench.call("RunPodSandbox", cri.RunPodSandboxRequest(), cri.RunPodSandboxResponse)
    await eventually(lambda: bench.node.traces.find("b" * 64))  # it is kept when the error has been sent
    start = bench.node.traces.find("b" * 64)
    assert start is not None
    assert [call.code for call in start.calls] == ["UNAVAILABLE"]
