"""The metrics endpoint as a client sees it: paths, TLS, clients that hang; and what its page and dashboard promise."""

import http.client
import json
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from crishim.config import MetricsSettings
from crishim.cri.metrics.endpoint import Collector, serve
from crishim.cri.metrics.http import MOST_CONNECTIONS
from crishim.errors import CrishimError
from crishim.histograms import ALL
from crishim.netdev.metrics import Metrics
from tests.support.nodes import make_node

ROOT = Path(__file__).parents[3]
NAME = re.compile(r"\bcrishim_[a-z_]+\b")


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Serve the metrics of a node without pods; the port."""
    devices = SimpleNamespace(metrics=Metrics(), attachments=list)
    node = make_node(tmp_path, netdevices=devices, pods=[], containers=[])
    stops = []

    def start(host: str = "127.0.0.1", **settings: str) -> int:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = int(s.getsockname()[1])
        stops.append(serve(MetricsSettings(address=f"{host}:{port}", **settings), Collector(node)))
        return port

    yield start
    for stop in stops:
        stop()


def ask(port: int, path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def families(port: int) -> dict[str, object]:
    """The metrics by the names of their samples and their own, as Prometheus' own parser reads them."""
    found: dict[str, object] = {}
    for family in text_string_to_metric_families(ask(port)[1]):
        found[family.name] = family
        found |= {sample.name: family for sample in family.samples}
        if family.type == "counter":
            found[f"{family.name}_total"] = family
        found |= {f"{family.name}_{part}": family for part in ("bucket", "count", "sum") if family.type == "histogram"}
    return found


def test_only_metrics_are_there(serving: Callable[..., int]) -> None:
    """404 for other paths, 405 for other methods; no host is the loopback interface."""
    port = serving("")
    assert [ask(port, path)[0] for path in ("/metrics", "/", "/metrics/", "/metric")] == [200, *[404] * 3]
    assert ask(port, method="POST")[0] == 405
    with socket.socket() as s:
        assert s.connect_ex(("127.0.0.2", port)) != 0, "it listens at 127.0.0.1 alone"


def test_every_documented_metric_exists(serving: Callable[..., int]) -> None:
    """Those of docs/metrics.md and of the dashboard are there, and all that are there are documented."""
    for histogram in ALL:
        histogram.observe(tuple("x" for _ in histogram.labels), 0.1)
    there = families(serving())
    page = (ROOT / "docs/metrics.md").read_text()
    dashboard = json.loads((ROOT / "packaging/grafana/crishim.json").read_text())
    asked = {name for panel in dashboard["panels"] for t in panel["targets"] for name in NAME.findall(t["expr"])}
    assert asked
    assert asked | set(NAME.findall(page)) <= set(there)
    own = {getattr(family, "name", "") for name, family in there.items() if name.startswith("crishim_")}
    assert {name for name in own if name not in page} == set()


def test_labels_of_histograms(serving: Callable[..., int]) -> None:
    """Each has those of its definition, and buckets up to +Inf."""
    for histogram in ALL:
        histogram.observe(tuple("x" for _ in histogram.labels), 0.1)
    there = families(serving())
    for histogram in ALL:
        samples = [s for s in there[histogram.name].samples if s.name.endswith("_bucket")]  # type: ignore[attr-defined]
        assert {*samples[0].labels} == {*histogram.labels, "le"}
        assert samples[-1].labels["le"] == "+Inf"


def certificate(directory: Path) -> tuple[str, str]:
    cert, key = f"{directory}/cert.pem", f"{directory}/key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-out", cert, "-keyout", key]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def test_tls(serving: Callable[..., int], tmp_path: Path) -> None:
    """With a certificate it is HTTPS alone; a certificate that is none is refused by name."""
    cert, key = certificate(tmp_path)
    port = serving(tls_cert=cert, tls_key=key)
    context = ssl.create_default_context(cafile=cert)
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    connection.request("GET", "/metrics")
    assert connection.getresponse().status == 200
    with pytest.raises((http.client.HTTPException, OSError)):
        ask(port)
    with pytest.raises(CrishimError, match=r"metrics\.tls_cert"):
        serving(tls_cert=key, tls_key=key)


def test_silent_clients_are_few(serving: Callable[..., int]) -> None:
    """Beyond the limit a connection is closed at once; when one ends there is room again."""
    port = serving()
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(MOST_CONNECTIONS)]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as late:
        assert late.recv(1) == b""
    for each in silent:
        each.close()
    for _ in range(1000):  # their threads end one by one
        try:
            status, _ = ask(port)
        except (http.client.HTTPException, OSError):
            continue
        assert status == 200
        return
    pytest.fail("there is no room again")
