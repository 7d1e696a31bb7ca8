"""The example driver in its NRI mode: its plugin moves a claim's device in RunPodSandbox, as DRANET does."""

import contextlib
import json
from collections.abc import Iterator

import pytest

from tests.kubelet.cluster.claims import BEFORE, DRIVER, attribute, claim, claiming, described, make_links, request
from tests.kubelet.cluster.objects import IDLE, container, put, ready, run, told
from tests.kubelet.shapes import shell
from tests.support.daemon import eventually
from tests.support.isolation import remove_link
from tests.support.kubelet.cluster import Cluster
from tests.support.kubelet.control_plane import patiently

pytestmark = pytest.mark.node
DEV0 = f'{attribute("interface")} == "dev0"'
SHOW = "ip -o addr show net1 | grep -q 192.0.2.7/24 && ip link show net1 | grep -q ,UP"


@pytest.fixture(scope="module")
def the_plugin(the_cluster: Cluster) -> Iterator[None]:
    """The driver in its NRI mode, with two links to offer."""
    make_links()
    start(the_cluster)
    yield
    the_cluster.stop_driver()
    for name in BEFORE:
        remove_link(name)


def start(cluster: Cluster) -> None:
    cluster.start_driver("dev[0-9]", f"--nri={cluster.daemon.directory}/nri.sock")
    eventually(lambda: plugin_state(cluster) == "ready", "the plugin is in the runtime's list", 60)


def plugin_state(cluster: Cluster) -> str:
    """The state of the driver's plugin, as `crishim nri list` shows it."""
    shown = cluster.daemon.command("nri", "list").stdout
    return "ready" if any(DRIVER in line and "ready" in line for line in shown.splitlines()) else shown


def back(name: str) -> bool:
    with contextlib.suppress(AssertionError):
        return described(name) == BEFORE[name]
    return False


@pytest.fixture
def claims(the_plugin: None, cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with the plugin. After each test every device is on the host again as it was."""
    yield cluster
    cluster.kubectl("delete", "pods,resourceclaims", "--all", "--wait", "--timeout=100s")
    eventually(lambda: all(map(back, BEFORE)), "the devices are back as they were", 60)


def has_device(cluster: Cluster, pod: str) -> bool:
    shown = cluster.kubectl("exec", pod, "--", "ip", "addr", "show", "net1", check=False)
    return "192.0.2.7/24" in shown and "2001:db8::7/64" in shown and ",UP" in shown


def test_the_plugin_moves_the_device(claims: Cluster) -> None:
    """It is there at the first instruction of each container; no CDI file and no lease of the runtime's is for it."""
    claim(claims, "moved", request(DEV0))
    init = shell(f"{SHOW} || exit 9", "init")
    run(claims, "moved", claiming("moved", main=shell(f"{SHOW} || exit 9; {IDLE}"), init=[init]))
    assert has_device(claims, "moved")
    assert not list((claims.daemon.directory / "cdi").glob("*.json"))
    assert "dev0" not in claims.daemon.command("netdev", "list").stdout
    device = json.loads(claims.kubectl("get", "resourceclaim", "moved", "-o", "json"))["status"]["devices"][0]
    assert (device["driver"], device["networkData"]["interfaceName"]) == (DRIVER, "net1")
    claims.kubectl("delete", "pod", "moved", "--wait")
    eventually(lambda: back("dev0"), "it is back", 30)


def test_kubelet_runtime_and_plugin_restart(claims: Cluster) -> None:
    """The pod keeps its device through each of them and a restart of its container; its end still returns it."""
    claim(claims, "stays", request(DEV0))
    run(claims, "stays", claiming("stays"))
    before = container(claims, "stays")
    claims.kubelet.stop()
    claims.kubelet.start()
    claims.stop_driver()
    start(claims)
    claims.daemon.kill()
    claims.daemon.start()
    eventually(lambda: plugin_state(claims) == "ready", "the plugin has joined the runtime again", 60)
    claims.kubelet.kill()
    claims.daemon.stop()
    claims.stop_driver()
    claims.daemon.start()
    claims.kubelet.start()
    start(claims)
    patiently(claims.joined, "the node is Ready", 100)
    patiently(lambda: has_device(claims, "stays"), "exec answers again", 100)
    after = container(claims, "stays")
    assert (after["restartCount"], after["containerID"]) == (0, before["containerID"])
    claims.kubectl("exec", "stays", "--", "kill", "1", check=False)

    def again() -> bool:
        found = container(claims, "stays")
        return bool(found.get("restartCount") == 1 and found["ready"])

    patiently(again, "the container is restarted", 100)
    assert has_device(claims, "stays")
    claims.kubectl("delete", "pod", "stays", "--wait")
    eventually(lambda: back("dev0"), "it is back, though runtime and plugin are not those that moved it", 30)


def test_what_the_plugin_refuses(claims: Cluster) -> None:
    """A pod on the host's network: its sandbox is refused, an event says why; the claim then serves another pod."""
    claim(claims, "host", request(DEV0))
    put(claims, "host", {**claiming("host"), "hostNetwork": True})
    told(claims, "host", "host's network", DRIVER, reason="FailedCreatePodSandBox")
    claims.kubectl("delete", "pod", "host", "--wait")
    assert back("dev0")
    put(claims, "pod", claiming("host"))
    ready(claims, "pod")
    assert has_device(claims, "pod")
