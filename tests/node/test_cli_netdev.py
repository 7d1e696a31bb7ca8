"""crishim netdev, with a daemon and without."""

import json
import os
from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon
from tests.support.isolation import ip, remove_link
from tests.support.pods import execute, pod_config, remove_pod, run_pod, start

pytestmark = pytest.mark.node


@pytest.fixture
def device() -> Iterator[str]:
    ip("link", "add", "clit0", "type", "veth", "peer", "name", "clit1")
    ip("addr", "add", "10.88.0.1/24", "dev", "clit0")
    ip("link", "set", "clit0", "up")
    ip("link", "set", "clit1", "up")
    yield "clit0"
    remove_link("clit0")
    remove_link("clit1")


def test_the_hosts_links_with_reasons(daemon: Daemon, device: str) -> None:
    """list --host: may be given, is given, never; for a person and as JSON. Any bytes may be a link's name."""
    ip("link", "add", os.fsdecode(b"odd\xff"), "type", "ifb")
    ip("link", "add", "clibr0", "type", "bridge")
    try:
        ip("link", "set", "clit1", "master", "clibr0")
        rows = daemon.command("netdev", "list", "--host").stdout.splitlines()
        assert rows[0].split() == ["LINK", "KIND", "STATE", "TO", "WHY"]
        told = {row.split()[0]: " ".join(row.split()[1:]) for row in rows[1:]}
        assert told["lo"] == "physical never nobody it is the loopback interface"
        assert told[device] == "veth free pods of * netdevices.allow[0]"
        assert told["clit1"] == "veth never nobody it belongs to clibr0"
        assert told["clibr0"].startswith("bridge never nobody")
        assert told["odd\ufffd"] == "ifb never nobody a name or the alias of it is not UTF-8"
        found = {x["name"]: x for x in json.loads(daemon.command("netdev", "list", "--host", "--json").stdout)}
        assert found[device]["grants"] == [{"rule": "netdevices.allow[0]", "namespaces": ["*"]}]
        assert (found["clit1"]["state"], found["clit1"]["reason"]) == ("never", "it belongs to clibr0")
        pod = run_pod(daemon, pod_config("has"))
        assert daemon.command("netdev", "attach", pod, device, "--name", "net7").returncode == 0
        rows = daemon.command("netdev", "list", "--host").stdout.splitlines()
        (row,) = [row for row in rows if row.startswith(f"{device} ")]
        assert row.split()[1:] == ["veth", "given", "pod", "test/has", "as", "net7,", "ready"]
        (shown,) = [x for x in json.loads(daemon.command("netdev", "list", "--host", "--json").stdout) if x["device"]]
        assert (shown["name"], shown["state"], shown["device"]["podName"]) == (device, "given", "test/has")
        assert json.loads(daemon.command("netdev", "list", "--json").stdout) == [shown["device"]]
        remove_pod(daemon, pod)
    finally:
        remove_link(os.fsdecode(b"odd\xff"))
        remove_link("clibr0")


def test_details_of_the_hosts_links(daemon: Daemon, device: str) -> None:
    """list --host --details: what a VXLAN's and a macvlan's parameters are; nothing of links that have none."""
    ip("link", "add", "clivx", "type", "vxlan", "id", "42", "remote", "192.0.2.1", "dstport", "4789", "dev", "clit1")
    ip("link", "add", "climv", "link", "clit1", "type", "macvlan", "mode", "bridge")
    try:
        done = daemon.command("netdev", "list", "--host", "--details", "--json")
        found = {x["name"]: x["details"] for x in json.loads(done.stdout)}
        assert found["clivx"] == {"id": 42, "remote": "192.0.2.1", "port": 4789, "underlay": "clit1"}
        assert found["climv"] == {"mode": "bridge", "parent": "clit1"}
        assert found[device] == found["lo"] == {}
        rows = daemon.command("netdev", "list", "--host", "--details").stdout.splitlines()
        assert rows[0].split()[-1] == "DETAILS"
        (row,) = [row for row in rows if row.startswith("clivx ")]
        assert row.endswith("  id 42, remote 192.0.2.1, port 4789, underlay clit1")
    finally:
        remove_link("clivx")
        remove_link("climv")


def test_netdev_commands(daemon: Daemon, device: str) -> None:
    """attach, list, show and detach of a host device against a running pod; its container sees it come and go."""
    pod = run_pod(daemon, pod_config("cli"))
    container = start(daemon, pod)
    done = daemon.command("netdev", "attach", pod[:13], device, "--name", "net7")
    assert done.returncode == 0, done.stderr
    code, shown = execute(daemon, container, "ip", "addr", "show", "dev", "net7")
    assert (code, "10.88.0.1/24" in shown) == (0, True)
    listing = daemon.command("netdev", "list").stdout.splitlines()
    assert listing[0].split()[:4] == ["DEVICE", "POD", "SANDBOX", "NAME"]
    assert listing[1].split()[:5] == [device, "test/cli", pod[:13], "net7", "10.88.0.1/24"]
    assert daemon.command("netdev", "list", "--pod", pod).stdout.splitlines()[1:] == listing[1:]
    (facts,) = json.loads(daemon.command("netdev", "show", device).stdout)
    assert (facts["name"], facts["hostName"], facts["state"], facts["pod"]) == ("net7", device, "ready", pod)
    done = daemon.command("netdev", "attach", pod, "nosuch0")
    assert (done.returncode, "nosuch0" in done.stderr) == (1, True)
    done = daemon.command("netdev", "show", "nosuch0")
    assert (done.returncode, "nosuch0" in done.stderr) == (1, True)
    done = daemon.command("netdev", "attach", "beef", device)
    assert (done.returncode, "beef" in done.stderr) == (1, True)
    done = daemon.command("netdev", "detach", pod, "net7")
    assert done.returncode == 0, done.stderr
    assert "10.88.0.1/24" in ip("addr", "show", device)
    assert execute(daemon, container, "ip", "link", "show", "net7")[0] != 0
    assert daemon.command("netdev", "list").stdout.splitlines()[1:] == []
    remove_pod(daemon, pod)


def test_netdev_without_a_daemon(daemon: Daemon) -> None:
    """One line says that no daemon answers at the socket."""
    daemon.stop()
    try:
        done = daemon.command("netdev", "list")
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert str(daemon.socket) in done.stderr
    finally:
        daemon.start()
