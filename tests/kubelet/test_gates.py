"""Gates that change how the kubelet talks to the runtime, on and off: evented PLEG, lists in batches, statistics from
CRI or from cAdvisor, WebSockets translated or passed through."""

import re
from collections.abc import Iterator

import pytest

from tests.kubelet.kubelet_streams import forward_url, over_websocket
from tests.kubelet.shapes import pod, shell
from tests.kubelet.test_streams import check_exec, serve
from tests.support.kubelet.node import Node, container_status, restarts, scratch_node
from tests.support.kubelet.process import request
from tests.support.streams.portforward import forward_over_spdy
from tests.support.streams.spdy import TunnelTransport

pytestmark = pytest.mark.node


@pytest.fixture(scope="module", params=[True, False], ids=["gates on", "gates off"])
def gated(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A node with the gates on, and one with them off."""
    names = ("EventedPLEG", "CRIListStreaming", "PodAndContainerStatsFromCRI", "ExtendWebSocketsToKubelet")
    with scratch_node(dict.fromkeys(names, request.param)) as node:
        node.evented = request.param  # type: ignore[attr-defined]
        yield node


def test_a_pod_lives_restarts_and_ends(gated: Node) -> None:
    """Ready, restarted by its kubelet, and gone without a trace, whichever way the kubelet hears of it."""
    gated.run("lives", pod(shell(), shell("sleep 1; exit 4", "dies")))
    found = gated.wait("lives", lambda p: restarts(p) >= 2, "dies is restarted twice")
    assert container_status(found, "dies")["lastState"]["terminated"]["exitCode"] == 4
    assert container_status(found, "main")["restartCount"] == 0
    gated.remove("lives")


@pytest.mark.fact("feature gates")
def test_the_gate_is_in_use(gated: Node) -> None:
    """The kubelet holds an event stream and asks for lists in batches exactly where its gates say so."""
    gated.run("used", pod())
    calls = [line.get("rpc") for line in gated.daemon.logged()]
    on = bool(gated.evented)  # type: ignore[attr-defined]
    streams = re.search(r"^kubelet_evented_pleg_connection_success_count (\S+)", request("/metrics").decode(), re.M)
    assert bool(streams and float(streams[1])) == on
    assert ("StreamPodSandboxes" in calls) == ("StreamContainers" in calls) == on
    gated.remove("used")


def test_streams_pass_either_way(gated: Node) -> None:
    """exec and port-forward over WebSocket: translated to SPDY by the kubelet, or passed through to the runtime."""
    gated.run("exec", pod())
    check_exec(over_websocket)
    serve(gated)
    answers = forward_over_spdy(forward_url("forward", 8080), 8080, [b"GET / HTTP/1.0\r\n\r\n"] * 3, TunnelTransport)
    assert all(answer.endswith(b"inside\n") for answer in answers)
    gated.remove("exec", "forward", "forward-host")
