"""A pod's start as a timeline, from a trace that hack/screenshots has recorded (`crishim trace POD --json`)."""

import json
from pathlib import Path

from crishim.cli import timeline
from crishim.pb import admin_pb2 as admin

RECORD = Path(__file__).with_name("pod_start.json")


def pod_start() -> str:
    (found,) = json.loads(RECORD.read_text())
    calls = [
        admin.TracedCall(**call | {"spans": [admin.TracedCall.Span(**span) for span in call["spans"]]})
        for call in found["calls"]
    ]
    return timeline.svg(admin.PodStart(pod_sandbox_id=found["id"], pod=found["pod"], calls=calls))
