"""Devices as hardware makes them: SR-IOV virtual functions and their physical one (igb); dummy, VLAN; bond, bridge.

Each that the kernel moves goes to a pod and comes back, moved by crishim (this crun) and by the OCI runtime (runc 1.5).
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.machine.virtual_functions import VFS, physical, settle
from tests.support.busybox import daemon_with
from tests.support.daemon import Daemon, eventually
from tests.support.isolation import ip, remove_link
from tests.support.pods import annotated, container_config, create, execute, pod_config, remove_pod, run_pod, start


@pytest.fixture(scope="module")
def daemon(busybox_archive: Path) -> Iterator[Daemon]:
    with daemon_with(busybox_archive) as daemon:
        yield daemon


@pytest.fixture(params=["crun", "runc"])
def handler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["vf", "pf", "dummy", "vlan"])
def device(request: pytest.FixtureRequest, functions: tuple[str, list[str]]) -> Iterator[str]:
    """A link of the kind, with an address and an MTU of its own."""
    kind, name = request.param, "t0"
    if kind == "vf":
        name = functions[1][0]
    elif kind == "pf":
        name = physical()[1]
    elif kind == "vlan":
        ip("link", "add", "base0", "type", "dummy")
        ip("link", "set", "base0", "up")
        ip("link", "add", "link", "base0", "name", name, "type", "vlan", "id", "7")
    else:
        ip("link", "add", name, "type", kind)
    ip("link", "set", name, "mtu", "1400")
    ip("addr", "add", "192.0.2.1/24", "dev", name)
    ip("link", "set", name, "up")
    yield name
    if kind in ("vf", "pf"):
        ip("addr", "flush", "dev", name)
    else:
        remove_link(name)
        remove_link("base0")


def facts(name: str) -> dict[str, object]:
    found = json.loads(ip("-j", "-d", "addr", "show", name))[0]
    addresses = sorted(a["local"] for a in found["addr_info"] if a["scope"] == "global")
    return {k: found[k] for k in ("ifname", "mtu", "address")} | {"up": "UP" in found["flags"], "addresses": addresses}


def settings(pf: str, number: int) -> dict[str, object]:
    """What the physical function says of a virtual one."""
    (found,) = (v for v in json.loads(ip("-j", "-d", "link", "show", pf))[0]["vfinfo_list"] if v["vf"] == number)
    return dict(found)


def rebind(name: str) -> None:
    """Take a device from its driver and give it back, and wait for its link."""
    device = Path(f"/sys/class/net/{name}/device").resolve()
    driver = (device / "driver").resolve()
    (driver / "unbind").write_text(device.name)
    (driver / "bind").write_text(device.name)
    eventually(lambda: Path(f"/sys/class/net/{name}").exists(), f"{name} is there again")
    settle()


def test_a_device_goes_and_comes_back(daemon: Daemon, device: str, handler: str) -> None:
    """Under its pod's name with its address, MTU and hardware address; at home as before."""
    before = facts(device)
    pod = run_pod(daemon, pod_config(annotations=annotated(**{device: "net1"})), handler=handler)
    container = start(daemon, pod)
    code, text = execute(daemon, container, "ip", "addr", "show", "net1")
    assert code == 0
    assert "192.0.2.1" in text
    assert "mtu 1400" in text
    assert str(before["address"]) in text
    assert not Path(f"/sys/class/net/{device}").exists()
    remove_pod(daemon, pod)
    assert facts(device) == before


def test_what_the_physical_function_says_of_it_stays(
    daemon: Daemon, functions: tuple[str, list[str]], handler: str
) -> None:
    """Hardware address, VLAN and spoof check of a VF are the PF's to say: the same in the pod and after it."""
    pf, (_, second, _) = functions
    ip("link", "set", pf, "vf", "1", "mac", "02:00:00:00:00:07")
    ip("link", "set", pf, "vf", "1", "vlan", "100", "qos", "2")
    ip("link", "set", pf, "vf", "1", "spoofchk", "off")
    ip("link", "set", pf, "vf", "1", "trust", "on")
    rebind(second)  # its driver takes the address that the physical function gave it when it begins
    eventually(lambda: facts(second)["address"] == "02:00:00:00:00:07", "the function's own address")
    before, own = settings(pf, 1), facts(second)
    pod = run_pod(daemon, pod_config(annotations=annotated(**{second: "net1"})), handler=handler)
    start(daemon, pod)
    assert settings(pf, 1) == before
    remove_pod(daemon, pod)
    assert (settings(pf, 1), facts(second)) == (before, own)


@pytest.fixture(params=["bond", "bridge", "a bond's port", "a bridge's port"])
def stays(request: pytest.FixtureRequest) -> Iterator[str]:
    """A link that cannot leave, and nobody gives."""
    kind = "bond" if "bond" in request.param else "bridge"
    ip("link", "add", "top0", "type", kind)
    ip("link", "add", "t0", "type", "dummy")
    ip("link", "set", "t0", "master", "top0")
    yield "t0" if "port" in request.param else "top0"
    remove_link("t0")
    remove_link("top0")


def test_what_stays_on_the_host(daemon: Daemon, stays: str, handler: str) -> None:
    """A bond, a bridge and their ports: refused by name, and as before."""
    before = facts(stays)
    pod = run_pod(daemon, pod_config(annotations=annotated(**{stays: "net1"})), handler=handler)
    with pytest.raises(grpc.RpcError, match=stays) as caught:
        create(daemon, pod, container_config())
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert facts(stays) == before
    remove_pod(daemon, pod)


def test_the_list_names_the_hardware(daemon: Daemon, functions: tuple[str, list[str]]) -> None:
    """`netdev list --host` has the functions, and their kind."""
    found = {x["name"]: x for x in json.loads(daemon.command("netdev", "list", "--host", "--json").stdout)}
    assert set(functions[1]) | {functions[0]} <= set(found)
    assert {found[name]["kind"] for name in functions[1]} == {"physical"}


def test_a_function_that_vanishes(daemon: Daemon, functions: tuple[str, list[str]], handler: str) -> None:
    """sriov_numvfs = 0 while a pod has one: the pod stops and goes; another is made of the new functions."""
    pf, virtual = functions
    count = Path(f"/sys/class/net/{pf}/device/sriov_numvfs")
    pod = run_pod(daemon, pod_config(annotations=annotated(**{virtual[2]: "net1"})), handler=handler)
    container = start(daemon, pod)
    count.write_text("0")
    try:
        assert execute(daemon, container, "ip", "addr", "show", "net1")[0] != 0
        remove_pod(daemon, pod)
        mine = [a for a in json.loads(daemon.command("netdev", "list", "--json").stdout) if a["pod"] == pod]
        assert [(a["hostName"], a["state"]) for a in mine] == [(virtual[2], "lost")]  # hardware: it may turn up yet
    finally:
        count.write_text(str(VFS))
    eventually(lambda: Path(f"/sys/class/net/{virtual[2]}").exists(), "the function is there again")
    settle()
    pod = run_pod(daemon, pod_config(annotations=annotated(**{virtual[2]: "net1"})), handler=handler)
    start(daemon, pod)
    remove_pod(daemon, pod)


def test_renamed_by_udev_meanwhile(daemon: Daemon, functions: tuple[str, list[str]], handler: str) -> None:
    """A trigger of udev while the device moves and while it is in the pod renames nothing."""
    name = functions[1][0]
    pod = run_pod(daemon, pod_config(annotations=annotated(**{name: "net1"})), handler=handler)
    trigger = subprocess.Popen(["udevadm", "trigger", "--settle", "--subsystem-match=net", "--action=add"])
    container = create(daemon, pod, container_config())
    daemon.call("StartContainer", container_id=container)
    assert trigger.wait(300) == 0
    assert execute(daemon, container, "ip", "link", "show", "net1")[0] == 0
    remove_pod(daemon, pod)
    assert Path(f"/sys/class/net/{name}").exists()
