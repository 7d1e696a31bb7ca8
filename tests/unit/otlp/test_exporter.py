"""Traces on their way to a collector: a real HTTP server, one that is down, one that hangs."""

import http.server
import logging
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from crishim.otlp.exporter import MOST_WAITING, Exporter
from crishim.traces import Traces
from crishim.tracing import Call, Parent, span
from tests.support.daemon import eventually

PARENT = Parent(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, True)
Sent = list[tuple[str, ExportTraceServiceRequest]]


@pytest.fixture
def collector() -> Iterator[tuple[str, Sent]]:
    """Its URL, and what it was sent: paths and requests."""
    sent: Sent = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            sent.append((self.path, ExportTraceServiceRequest.FromString(body)))

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", sent
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def export() -> Iterator[Callable[..., Traces]]:
    exporters = []

    def start(url: str, rate: int = 1_000_000) -> Traces:
        traces = Traces()
        exporters.append(Exporter(url, rate, traces, pause=0.01))
        return traces

    yield start
    for exporter in exporters:
        exporter.stop()


def ended(parent: Parent | None = PARENT, code: str = "OK") -> Call:
    with Call("RunPodSandbox", parent) as call, span("namespaces"):
        call.code = code
    return call


def test_a_call_is_below_its_client(collector: tuple[str, Sent], export: Callable[..., Traces]) -> None:
    """In the client's trace; phases below the call; failures are errors."""
    url, sent = collector
    call = ended(code="UNAVAILABLE")
    export(url).keep(call, "abc", "ns/web")
    ((path, request),) = eventually(lambda: list(sent), "it is sent")
    (resource,) = request.resource_spans
    server, phase = resource.scope_spans[0].spans
    assert path == "/v1/traces"
    assert {a.value.string_value for a in resource.resource.attributes if a.key == "service.name"} == {"crishim"}
    assert (server.trace_id, phase.trace_id) == (PARENT.trace_id.to_bytes(16, "big"),) * 2
    assert (server.parent_span_id, phase.parent_span_id) == (PARENT.span_id.to_bytes(8, "big"), server.span_id)
    assert (server.name, phase.name, server.status.message) == ("RunPodSandbox", "namespaces", "UNAVAILABLE")
    assert (server.start_time_unix_nano, server.end_time_unix_nano) == (call.began, call.ended)
    said = {a.key: a.value.string_value for a in server.attributes}
    assert (said["k8s.pod.name"], said["crishim.pod_sandbox_id"]) == ("web", "abc")


def test_what_is_sampled(collector: tuple[str, Sent], export: Callable[..., Traces]) -> None:
    """The client's flag decides for a call that has one, the rate for the rest."""
    url, sent = collector
    traces = export(url, rate=0)
    traces.keep(ended(PARENT._replace(sampled=False)), "a", "")
    traces.keep(ended(None), "b", "")
    traces.keep(ended(), "c", "")
    ((_, request),) = eventually(lambda: list(sent), "the third is sent")
    spans = request.resource_spans[0].scope_spans[0].spans
    assert [a.value.string_value for s in spans for a in s.attributes if a.key.startswith("crishim")] == ["c"]


def test_a_collector_that_is_down(export: Callable[..., Traces], caplog: pytest.LogCaptureFixture) -> None:
    """Said once; what it does not take is counted."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{s.getsockname()[1]}"  # nobody listens
        traces = export(url)
        with caplog.at_level(logging.INFO, "crishim.otlp"):
            traces.keep(ended(), "a", "")
            eventually(lambda: traces.lost == 1, "it is lost")
            traces.keep(ended(), "a", "")
            eventually(lambda: traces.lost == 2, "the second as well")
    assert [record.message for record in caplog.records] == ["the collector takes no traces"]


def test_a_collector_that_hangs(export: Callable[..., Traces]) -> None:
    """Calls wait up to a bound; those beyond are lost, and whoever keeps them does not wait."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        traces = export(f"http://127.0.0.1:{silent.getsockname()[1]}")
        call = ended()
        traces.keep(call, "a", "")
        connection, _ = silent.accept()  # now it waits for the answer
        with connection:
            for _ in range(MOST_WAITING + 7):
                traces.keep(call, "a", "")
            assert traces.lost == 7
