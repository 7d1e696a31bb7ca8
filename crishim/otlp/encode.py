"""Encode calls as an ExportTraceServiceRequest (OTLP 1.x; attributes are named by its semantic conventions)."""

import os
import platform
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

import crishim
from crishim.tracing import Call


class EndedCall(NamedTuple):
    """A call that has ended, and the id and NAMESPACE/NAME of its pod, "" if it has none."""

    call: Call
    pod: str
    name: str


def encode(calls: Iterable[EndedCall]) -> bytes:
    """The request's bytes."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    service = {"service.name": "crishim", "service.version": crishim.__version__, "host.name": platform.node()}
    resource.resource.attributes.extend(_attributes(service | {"process.pid": str(os.getpid())}))
    scope = resource.scope_spans.add()
    scope.scope.name, scope.scope.version = "crishim", crishim.__version__
    for each in calls:
        scope.spans.extend(_spans(each))
    return request.SerializeToString()


def _spans(ended: EndedCall) -> Iterable[trace.Span]:
    call = ended.call
    trace_id = call.trace_id.to_bytes(16, "big")
    namespace, _, name = ended.name.partition("/")
    facts = {"rpc.system": "grpc", "rpc.method": call.name, "rpc.response.status_code": call.code}
    facts |= {"k8s.namespace.name": namespace, "k8s.pod.name": name, "crishim.pod_sandbox_id": ended.pod}
    server = trace.Span(
        trace_id=trace_id,
        span_id=_span_id(call.id),
        parent_span_id=_span_id(call.parent.span_id) if call.parent else b"",
        name=call.name,
        kind=trace.Span.SPAN_KIND_SERVER,
        start_time_unix_nano=call.began,
        end_time_unix_nano=call.ended,
        attributes=_attributes(facts),
    )
    if call.code != "OK":
        server.status.code, server.status.message = trace.Status.STATUS_CODE_ERROR, call.code
    yield server
    for step in call.spans:
        yield trace.Span(
            trace_id=trace_id,
            span_id=_span_id(step.id),
            parent_span_id=_span_id(step.parent),
            name=step.name,
            kind=trace.Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=step.began,
            end_time_unix_nano=step.ended,
        )


def _span_id(id: int) -> bytes:
    return id.to_bytes(8, "big")


def _attributes(facts: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in facts.items() if value]
