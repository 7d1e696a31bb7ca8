"""What NRI plugins make of containers, seen in the containers: each kind of adjustment, under crun and runc."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from crishim.nri.stub import Refusal, Stub
from crishim.pb import cri_pb2 as cri
from crishim.pb import nri_pb2 as nri
from tests.support.daemon import Daemon, eventually
from tests.support.go_plugin import GoPlugins
from tests.support.isolation import ip, remove_link
from tests.support.pods import (
    annotated,
    container_config,
    create,
    execute,
    pod_config,
    remove_pod,
    run_pod,
    start,
    wait_exited,
)
from tests.support.pods import status as container_status

pytestmark = pytest.mark.node


@pytest.fixture(params=["crun", "runc"])
def handler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def device() -> Iterator[str]:
    ip("link", "add", "nri0", "type", "veth", "peer", "name", "nri0p")
    ip("addr", "add", "192.0.2.9/24", "dev", "nri0")
    ip("link", "set", "nri0", "up")
    yield "nri0"
    remove_link("nri0")


def addresses(device: str) -> list[str]:
    return [a["local"] for a in json.loads(ip("-j", "addr", "show", device))[0]["addr_info"] if a["family"] == "inet"]


def test_everything_is_in_the_container(daemon: Daemon, plugins: GoPlugins, handler: str, tmp_path: Path) -> None:
    """Environment, mounts, devices, hooks, limits, sysctls, arguments, CPU shares, oom score."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("from the plugin")
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\necho $1 >> {tmp_path}/hooked\n")
    hook.chmod(0o755)
    adjust = {
        "annotations": {"added": "yes"},
        "args": ["sh", "-c", "echo changed; exec sleep 1000"],
        "env": [{"key": "ADDED", "value": "1"}, {"key": "GIVEN", "value": "2"}, {"key": "-GONE"}],
        "mounts": [{"destination": "/data", "type": "bind", "source": f"{tmp_path}/data", "options": ["rbind", "ro"]}],
        "hooks": {"create_runtime": [{"path": str(hook), "args": ["hook", "made"]}],
                  "poststop": [{"path": str(hook), "args": ["hook", "stopped"]}]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456}],
        "linux": {
            "devices": [{"path": "/dev/nri-null", "type": "c", "major": 1, "minor": 3, "file_mode": {"value": 438}}],
            "resources": {"cpu": {"shares": {"value": 512}}, "pids": {"limit": 77}},
            "oom_score_adj": {"value": 900},
            "sysctl": {"net.ipv4.ip_unprivileged_port_start": "77"},
        },
    }  # fmt: skip
    plugins.join(CreateContainer={"adjust": adjust})
    pod = run_pod(daemon, handler=handler)
    asked = [cri.KeyValue(key="GIVEN", value=b"1"), cri.KeyValue(key="GONE", value=b"1")]
    container = start(daemon, pod, container_config(command=["sleep", "1"], envs=asked))

    def shows(*command: str) -> str:
        code, text = execute(daemon, container, *command)
        assert code == 0, text
        return text

    environment = shows("cat", "/proc/1/environ").split("\0")
    assert {"ADDED=1", "GIVEN=2"} <= set(environment)
    assert not any(item.startswith("GONE=") for item in environment)
    assert shows("cat", "/proc/1/cmdline").split("\0")[:2] == ["sleep", "1000"]
    assert shows("cat", "/data/file") == "from the plugin"
    assert execute(daemon, container, "touch", "/data/new")[0] != 0
    shows("sh", "-c", "test -c /dev/nri-null && echo x > /dev/nri-null")
    limits = next(line for line in shows("cat", "/proc/1/limits").splitlines() if "open files" in line)
    assert limits.split()[3:5] == ["123", "456"]
    assert shows("cat", "/proc/1/oom_score_adj").strip() == "900"
    assert shows("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start").strip() == "77"
    group = f"{pod}/{container}"
    assert [p.read_text().strip() for p in Path("/sys/fs/cgroup").glob(f"pids/**/{group}/pids.max")] in ([], ["77"])
    assert container_status(daemon, container).resources.linux.cpu_shares == 512
    remove_pod(daemon, pod)
    assert (tmp_path / "hooked").read_text().split() == ["made", "stopped"]


def test_a_network_device_of_a_plugin(daemon: Daemon, plugins: GoPlugins, device: str, handler: str) -> None:
    """Is leased, shown, kept through a restart of the container, and returned as it was."""
    plugins.join(CreateContainer={"adjust": {"linux": {"net_devices": {device: {"name": "net1"}}}}})
    pod = run_pod(daemon, pod_config("given"), handler)
    container = start(daemon, pod)
    assert "192.0.2.9/24" in execute(daemon, container, "ip", "addr", "show", "net1")[1]
    (shown,) = json.loads(daemon.command("netdev", "list", "--json").stdout)
    assert (shown["hostName"], shown["sources"]) == (device, ["nri: 10-go"])
    daemon.call("StopContainer", container_id=container, timeout=0)
    again = start(daemon, pod, container_config(attempt=1))
    assert "192.0.2.9/24" in execute(daemon, again, "ip", "addr", "show", "net1")[1]
    daemon.kill()
    daemon.start()
    plugins.end()
    remove_pod(daemon, pod)
    assert addresses(device) == ["192.0.2.9"]


def test_a_device_of_an_annotation_can_be_taken_away(daemon: Daemon, plugins: GoPlugins, device: str) -> None:
    """Plugins are shown what the request asks for; a mark removes it."""
    plugins.join(CreateContainer={"adjust": {"linux": {"net_devices": {f"-{device}": {}}}}})
    pod = run_pod(daemon, pod_config(annotations=annotated(**{device: "net1"})))
    start(daemon, pod)
    assert plugins.told("CreateContainer")[0]["container"]["linux"]["net_devices"] == {device: {"name": "net1"}}
    assert addresses(device) == ["192.0.2.9"]
    remove_pod(daemon, pod)


CONTRADICTIONS = {
    "a second eth0": ({"linux": {"net_devices": {"nri0": {"name": "eth0"}}}}, "linux.net_devices.*eth0"),
    "no such device": ({"linux": {"net_devices": {"nodev": {"name": "net1"}}}}, "linux.net_devices.*nodev"),
    "a mount over /proc": (
        {"mounts": [{"destination": "/proc/self", "type": "bind", "source": "/tmp", "options": ["bind"]}]},
        "mounts.*/proc",
    ),
    "another cgroup": ({"linux": {"cgroups_path": "/elsewhere"}}, "linux.cgroups_path"),
    "another network": ({"linux": {"namespaces": [{"type": "network", "path": "/x"}]}}, "linux.namespaces.*network"),
    "an unknown CDI device": ({"CDI_devices": [{"name": "example.com/x=y"}]}, "CDI_devices.*example.com/x=y"),
    "a class of RDT": ({"linux": {"resources": {"rdt_class": {"value": "x"}}}}, "linux.resources.rdt_class"),
    "more shares than fit": (
        {"linux": {"resources": {"cpu": {"shares": {"value": str(2**64 - 1)}}}}},
        "linux.resources.cpu.shares.*out of range",
    ),
    "soft above hard": ({"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 8}]}, "rlimits.*NOFILE"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_contradicts_the_pod(daemon: Daemon, plugins: GoPlugins, device: str, name: str) -> None:
    """One line that names plugin and field; nothing is left, the device is where it was."""
    adjust, field = CONTRADICTIONS[name]
    plugins.join(CreateContainer={"adjust": adjust})
    pod = run_pod(daemon)
    with pytest.raises(grpc.RpcError) as raised:
        create(daemon, pod)
    text = raised.value.details()
    assert text.count("\n") == 0
    assert "NRI plugin 10-go: adjustment " in text
    assert re.search(field, text), text
    assert addresses(device) == ["192.0.2.9"]
    assert not daemon.call("ListContainers").containers
    remove_pod(daemon, pod)


def test_a_device_another_pod_holds(daemon: Daemon, plugins: GoPlugins, device: str) -> None:
    plugins.join(CreateContainer={"adjust": {"linux": {"net_devices": {device: {"name": "net1"}}}}})
    first, second = run_pod(daemon, pod_config("first")), run_pod(daemon, pod_config("second"))
    create(daemon, first)
    with pytest.raises(grpc.RpcError, match=r"NRI plugin 10-go: adjustment linux\.net_devices.*test/first"):
        create(daemon, second)
    for pod in (second, first):
        remove_pod(daemon, pod)
    assert addresses(device) == ["192.0.2.9"]


def test_updates_of_other_containers(daemon: Daemon, plugins: GoPlugins, handler: str) -> None:
    """In an answer, and without being asked, from inside a handler."""
    pod = run_pod(daemon, handler=handler)
    other = start(daemon, pod, container_config("other"))
    one = {"container_id": other, "linux": {"resources": {"cpu": {"shares": {"value": 300}}}}}
    two = {"container_id": other, "linux": {"resources": {"cpu": {"shares": {"value": 400}}}}}
    plugins.join(CreateContainer={"update": [one]}, PostStartContainer={"unsolicited": [two]})
    container = create(daemon, pod, container_config("one"))
    assert container_status(daemon, other).resources.linux.cpu_shares == 300
    daemon.call("StartContainer", container_id=container)
    assert container_status(daemon, other).resources.linux.cpu_shares == 400
    assert plugins.told("UpdateContainers")[0]["failed"] == 0
    remove_pod(daemon, pod)


def test_an_eviction(daemon: Daemon) -> None:
    """Stops the container; one of a container that is not there is logged, and no more."""
    pod = run_pod(daemon)
    container = start(daemon, pod)

    async def evict() -> None:
        plugin = Stub("10", "evicts")
        await plugin.connect(daemon.directory / "nri.sock")
        evictions = [nri.ContainerEviction(container_id=id, reason="too noisy") for id in ("f" * 64, container)]
        request = nri.UpdateContainersRequest(evict=evictions)
        while True:  # it may ask as soon as it is synchronized
            try:
                await plugin.call("UpdateContainers", request, nri.UpdateContainersResponse)
                break
            except Refusal:
                await asyncio.sleep(0.01)
        await plugin.close()

    asyncio.run(asyncio.wait_for(evict(), 30))
    assert wait_exited(daemon, container).exit_code == 3  # its own answer to SIGTERM
    (line,) = [x for x in daemon.logged() if x["message"] == "an NRI eviction failed"]
    assert (line["container"], line["plugin"]) == ("f" * 64, "10-evicts")
    remove_pod(daemon, pod)


def test_a_plugin_that_hangs_or_crashes_costs_its_own_calls(daemon: Daemon, plugins: GoPlugins) -> None:
    """The pod runs; Status answers meanwhile; the plugin is dropped, and the list says why."""
    plugins.join(RunPodSandbox={"sleep": "1h"})
    plugins.join(CreateContainer={"crash": True}, index="20", name="crashes")
    pod = run_pod(daemon)
    start(daemon, pod)
    states = {p["name"]: p["state"] for p in plugins.listed()}
    assert "did not answer RunPodSandbox" in states["go"]
    assert states["crashes"].startswith("closed")
    assert "PLUGIN" in daemon.command("nri", "list").stdout
    eventually(lambda: daemon.call("Status").status.conditions, "Status")
    remove_pod(daemon, pod)
