"""The daemon's own metrics."""

import socket
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from crishim.config import MetricsSettings
from crishim.cri.metrics.endpoint import Collector, serve
from crishim.errors import CrishimError
from crishim.netdev.metrics import Metrics
from crishim.netdev.presence import ATTACHED, Presence
from crishim.netdev.records import State
from tests.support.nodes import make_node
from tests.unit.cri.records import pod
from tests.unit.netdev.fake_links import attachment


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def test_a_scrape_shows_devices_and_objects(tmp_path: Path) -> None:
    """Latencies, failures and states appear under their names and labels; stopping frees the port."""
    metrics = Metrics()
    known = {attachment(): ATTACHED, attachment(id="1" * 16): Presence(is_up=False, renamed="x")}
    known[attachment(state=State.LOST)] = Presence(is_there=False)
    devices = SimpleNamespace(metrics=metrics, attachments=lambda: list(known), presence=known.__getitem__)
    node = make_node(tmp_path, netdevices=devices, pods=[pod("p1"), pod("p2")], containers=[])
    metrics.observe("attach", 0.025, 1)
    metrics.fail("return", "lost")
    metrics.change(["down", "renamed"])
    metrics.change(["down"])
    port = free_port()
    stop = serve(MetricsSettings(address=f"127.0.0.1:{port}"), Collector(node))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    finally:
        stop()
    assert 'crishim_netdevice_duration_seconds_bucket{le="0.02",operation="attach"} 0.0' in text
    assert 'crishim_netdevice_duration_seconds_bucket{le="0.03",operation="attach"} 1.0' in text
    assert 'crishim_netdevice_failures_total{kind="lost",operation="return"} 1.0' in text
    assert 'crishim_netdevice_changes_total{condition="down"} 2.0' in text
    assert [line for line in text.splitlines() if line.startswith("crishim_netdevices{")] == [
        f'crishim_netdevices{{condition="{condition}"}} 1.0' for condition in ("as attached", "down", "renamed")
    ]
    assert 'crishim_objects{kind="pod",state="ready"} 2.0' in text
    with socket.socket() as s:
        assert s.connect_ex(("127.0.0.1", port)) != 0


def test_an_address_in_use_is_one_sentence(tmp_path: Path) -> None:
    """The error names the setting and the address."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        address = f"127.0.0.1:{s.getsockname()[1]}"
        with pytest.raises(CrishimError, match=rf"metrics.address: .*{address}"):
            serve(
                MetricsSettings(address=address),
                Collector(make_node(tmp_path, netdevices=SimpleNamespace(metrics=Metrics()))),
            )
