"""A pod moves its device into a network namespace of its own: it is home before that ends with the pod's processes."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.isolation import ip, remove_link
from tests.support.pods import annotated, pod_config, remove_pod, run_pod, start

pytestmark = pytest.mark.node


@pytest.fixture
def device() -> Iterator[str]:
    ip("link", "add", "deep0", "mtu", "1400", "type", "veth", "peer", "name", "deep0p")
    ip("link", "set", "deep0p", "up")
    ip("link", "set", "deep0", "up")
    ip("addr", "add", "192.0.2.90/24", "dev", "deep0")
    ip("addr", "add", "2001:db8:90::1/64", "dev", "deep0", "nodad")
    yield "deep0"
    remove_link("deep0")


def picture(name: str) -> tuple[Any, ...]:
    (link,) = json.loads(ip("-j", "addr", "show", "dev", name))
    addresses = [(a["local"], a["prefixlen"]) for a in link["addr_info"] if a["scope"] == "global"]
    return link["ifindex"], link["mtu"], link["address"], "UP" in link["flags"], addresses


@contextlib.contextmanager
def hidden(daemon: Daemon, pod: str, container: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the container in a network namespace of its own, into which net1 has been moved."""
    info = json.loads(daemon.call("ContainerStatus", container_id=container, verbose=True).info["info"])
    argv = ["nsenter", f"--target={info['pid']}", "--net", "--pid", "unshare", "--net", "sleep", "1000"]
    with subprocess.Popen(argv) as process:
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

            def nested() -> str:
                """The sleep's pid, once it is in its own namespace."""
                pid = children.read_text().strip()
                comm = Path(f"/proc/{pid}/comm")
                return pid if pid and comm.exists() and comm.read_text() == "sleep\n" else ""

            eventually(nested, "the nested namespace is made")
            ip("link", "set", "net1", "netns", nested(), netns=f"{daemon.run}/pods/{pod}/ns/net")
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("handler", ["runc", "crun"])
@pytest.mark.parametrize("way", ["StopPodSandbox", "StopContainer", "RemoveContainer"])
def test_a_hidden_device_comes_home(daemon: Daemon, device: str, handler: str, way: str) -> None:
    """Whoever ends the container: the host has its device back as it was, and the process that had it is gone."""
    before = picture(device)
    pod = run_pod(daemon, pod_config(annotations=annotated(**{device: "net1"})), handler)
    container = start(daemon, pod)
    with hidden(daemon, pod, container) as process:
        if way == "StopContainer":
            daemon.call("StopContainer", container_id=container, timeout=1)
        elif way == "RemoveContainer":
            daemon.call("RemoveContainer", container_id=container)
        daemon.call("StopPodSandbox", pod_sandbox_id=pod)
        assert process.wait(10) != 0
        assert picture(device) == before
    remove_pod(daemon, pod)
    assert device not in daemon.command("netdev", "list").stdout


def test_a_container_made_anew_has_the_device(daemon: Daemon, device: str) -> None:
    """Its predecessor hid it, and was stopped."""
    pod = run_pod(daemon, pod_config(annotations=annotated(**{device: "net1"})))
    container = start(daemon, pod)
    with hidden(daemon, pod, container):
        daemon.call("StopContainer", container_id=container, timeout=0)
        daemon.call("RemoveContainer", container_id=container)
        start(daemon, pod)
        assert "192.0.2.90" in ip("addr", "show", "net1", netns=f"{daemon.run}/pods/{pod}/ns/net")
    remove_pod(daemon, pod)
    assert picture(device)[3]
