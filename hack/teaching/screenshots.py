"""Behind hack/screenshots: a node with a few pods on a scratch daemon; its page in a browser, and one start's trace."""

import socket
import tempfile
from pathlib import Path
from typing import Any

from crishim.linux import libc, namespaces
from crishim.pb import cri_pb2 as cri
from hack.teaching.pod_start import RECORD
from tests.support.browser import Tab, browser
from tests.support.busybox import build_archive, daemon_with
from tests.support.daemon import Daemon
from tests.support.isolation import ip, isolate, remove_link
from tests.support.page import served_page
from tests.support.pods import annotated, container_config, create, pod_config, remove_pod, run_pod, start, wait_exited

DIRECTORY = Path(__file__).parents[2] / "docs/page"
WIDTH, HEIGHT = 1000, 900
DEVICES = ("demo0", "demo1", "demo2")


def main() -> None:
    isolate()
    libc.unshare(namespaces.CLONE_NEWUTS)
    socket.sethostname("node-1")
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as directory,
        daemon_with(build_archive(Path(directory))) as daemon,
    ):
        for name in DEVICES:
            ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-peer")
            ip("link", "set", name, "up")
            ip("link", "set", f"{name}-peer", "up")
        with served_page(daemon) as page, browser() as tab:
            with page.following() as until:  # from before the pods on, so that it has seen each device's way
                until("state", lambda part: "are ready" in part)
            pods = furnish(daemon)
            take(tab, page.url, pods[0])
        RECORD.write_text(daemon.command("trace", pods[0], "--json").stdout)
        for pod in pods:
            remove_pod(daemon, pod)
        for name in DEVICES:
            remove_link(name)


def furnish(daemon: Daemon) -> list[str]:
    """Pods as a small node has them: the first with a device and two containers."""
    router = run_pod(daemon, named("router", "edge", annotations=annotated(demo0="net1")))
    start(daemon, router, container_config("bird"))
    start(daemon, router, container_config("exporter"))
    web = run_pod(daemon, named("web-7d4b9", "shop"))
    start(daemon, web, container_config("nginx"))
    for attempt in (0, 1, 2):
        config = container_config("migrate", attempt, command=["sh", "-c", "exit 1"])
        daemon.call("StartContainer", container_id=(ended := create(daemon, web, config)))
        wait_exited(daemon, ended)
    capture = run_pod(daemon, named("capture", "lab", annotations=annotated(demo1="net1")))
    start(daemon, capture, container_config("tcpdump"))
    return [router, web, capture]


def named(name: str, namespace: str, **fields: Any) -> cri.PodSandboxConfig:
    config = pod_config(name, **fields)
    config.metadata.namespace = namespace
    return config


def take(tab: Tab, url: str, pod: str) -> None:
    """Both colour schemes, from the picture down; and a start's timeline opened in the light one."""
    for scheme in ("light", "dark"):
        tab.colours(scheme)
        tab.open(url)
        tab.until("document.getElementById('live').textContent === 'live'")
        tab.screenshot(DIRECTORY / f"{scheme}.png", WIDTH, HEIGHT)
    tab.colours("light")
    tab.run(f"document.querySelector('#start-{pod} > summary').click()")
    tab.run("document.getElementById('devices').scrollIntoView()")  # pictures are loaded when they come into view
    tab.until(f"document.querySelector('#start-{pod} img').naturalWidth > 100")
    tab.screenshot(DIRECTORY / "devices.png", WIDTH, HEIGHT)


if __name__ == "__main__":
    main()
