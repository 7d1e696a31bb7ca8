"""crishim/operations/leases.py: which addresses of host-local are nobody's any more."""

import json
import os
from pathlib import Path

import pytest

from crishim.linux import net_namespaces
from crishim.operations import leases

IDS = {name: name * 64 for name in "abcdef"}


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of configurations, with one network whose leases lie beside it."""
    config = tmp_path / "net.d"
    config.mkdir()
    plugin = {"type": "bridge", "ipam": {"type": "host-local", "dataDir": str(tmp_path / "ipam")}}
    (config / "10-blue.conflist").write_text(json.dumps({"name": "blue", "plugins": [plugin]}))
    (config / "99-broken.conflist").write_text("{")
    results = tmp_path / "results"
    results.mkdir()
    (results / f"blue-{IDS['b']}-eth0").touch()
    monkeypatch.setattr(leases, "LIBCNI", (results, tmp_path / "none"))
    (tmp_path / "ipam/blue").mkdir(parents=True)
    for number, (name, id) in enumerate(IDS.items()):
        path = tmp_path / "ipam/blue" / f"10.0.0.{number}"
        path.write_text(f"{id}\r\neth0")
        if name != "c":
            os.utime(path, (1, 1))
    return config


def test_forsaken(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what libcni remembers, what is young, what is ours, or whose address is in use."""
    monkeypatch.setattr(net_namespaces, "addresses_in_use", lambda: {"10.0.0.4"})
    assert len(list(leases.held(network))) == len(IDS)
    found = leases.stale(network, {IDS["d"]})
    assert [(path.name, holder) for path, holder in found] == [("10.0.0.0", IDS["a"]), ("10.0.0.5", IDS["f"])]
