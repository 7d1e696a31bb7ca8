"""A kubelet that traces its calls: those of a pod's start are in the one trace of its syncPod."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kubelet.shapes import pod
from tests.support.daemon import eventually
from tests.support.kubelet.node import Node, scratch_node

pytestmark = pytest.mark.node
# Nobody listens there: what the kubelet cannot hand on it drops, and its calls carry their context all the same.
TRACING = {"endpoint": "127.0.0.1:4317", "samplingRatePerMillion": 1000000}


@pytest.fixture(scope="module")
def traced() -> Iterator[Node]:
    with scratch_node(kubelet={"tracing": TRACING}) as node:
        yield node


def calls_of(node: Node, id: str) -> list[dict[str, Any]]:
    (start,) = json.loads(node.daemon.command("trace", id, "--json").stdout)
    return list(start["calls"])


def test_a_start_is_one_trace(traced: Node) -> None:
    """RunPodSandbox, CreateContainer and StartContainer have one trace id, which is the kubelet's."""
    traced.run("traced", pod())
    (id,) = [p.id for p in traced.daemon.call("ListPodSandbox").items if p.metadata.name.startswith("traced")]
    wanted = {"RunPodSandbox", "CreateContainer", "StartContainer"}
    eventually(lambda: wanted <= {call["rpc"] for call in calls_of(traced, id)}, "the start's calls are kept")
    assert len({call["trace_id"] for call in calls_of(traced, id) if call["rpc"] in wanted}) == 1
    traced.remove("traced")
