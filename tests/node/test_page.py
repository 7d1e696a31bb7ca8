"""`crishim page` beside a running daemon: what it shows of real pods, live, and to whom."""

import contextlib
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.stranger import NOBODY
from tests.support.daemon import Daemon, eventually
from tests.support.isolation import ip, remove_link
from tests.support.page import Page, served_page
from tests.support.pods import annotated, container_config, create, pod_config, remove_pod, run_pod, wait_exited

pytestmark = pytest.mark.node
SCRIPT = "<script>"
SECRET = "s3cr3t-in-an-annotation"


@pytest.fixture
def device() -> Iterator[str]:
    ip("link", "add", "paget0", "type", "veth", "peer", "name", "paget1")
    ip("link", "set", "paget0", "up")
    ip("link", "set", "paget1", "up")
    yield "paget0"
    remove_link("paget0")
    remove_link("paget1")


@pytest.fixture
def page(daemon: Daemon) -> Iterator[Page]:
    with served_page(daemon) as page:
        yield page


def states(part: str) -> dict[str, str]:
    """The standing of each state of the first way in a part."""
    way = re.search(r'<ol class="way">(.*?)</ol>', part)
    found = re.findall(r'class="step (\w+)"[^>]*>(\w+)', way[1]) if way else []
    return {state: standing for standing, state in found}


def test_a_device_comes_and_goes(daemon: Daemon, page: Page, device: str) -> None:
    """As it happens: attached with its pod's first container, ready, back on the node; with the times of its way."""
    with page.following() as until:
        until("state", lambda part: "Runtime and network are ready" in part)
        pod = run_pod(daemon, pod_config("seen", annotations=annotated(paget0="net1")))
        until("pods", lambda part: "test/seen" in part)
        container = create(daemon, pod, container_config("main", command=["sh", "-c", "exit 3"]))
        part = until("devices", lambda part: states(part).get("ready") == "now")
        assert states(part) == {
            "intent": "passed",
            "moved": "passed",
            "ready": "now",
            "returning": "ahead",
            "done": "ahead",
        }
        assert len(re.findall(r"<small>(?:\d\d:\d\d:\d\d|\+\d+ ms)</small>", part)) == 3
        daemon.call("StartContainer", container_id=container)
        until("pods", lambda part: "exited, code 3 (Error)" in part)
        until("starts", lambda part: "3 calls" in part)
        drawn = page.get()[1]
        assert drawn.count('class="wire eth0"') == drawn.count('class="wire ready"') == 1
        status, picture = page.get(f"starts/{pod}.svg")
        assert (status, "CreateContainer" in picture) == (200, True)
        assert "network devices" in page.get(f"starts/{pod}.txt")[1]
        remove_pod(daemon, pod)
        part = until("devices", lambda part: states(part).get("done") == "now")
        assert set(states(part).values()) == {"passed", "now"}
        until("pods", lambda part: "There are none." in part)


def test_restarts_and_namespaces(daemon: Daemon, page: Page) -> None:
    """A container's attempts, and where the pod's namespaces are pinned."""
    pod = run_pod(daemon, pod_config("again"))
    for attempt in (0, 1, 2):
        container = create(daemon, pod, container_config("main", attempt, command=["true"]))
        daemon.call("StartContainer", container_id=container)
        wait_exited(daemon, container)
    html = page.get()[1]
    assert html.count(f"<code>{container[:13]}</code>") == 1
    assert "main · exited 0 · restarts 2" in html
    for kind in ("net", "ipc", "uts"):
        assert str(daemon.run / "pods" / pod / "ns" / kind) in html
    assert "each container&#x27;s own" in html
    remove_pod(daemon, pod)


def test_names_that_are_markup(daemon: Daemon, page: Page) -> None:
    """As a link may be called; annotations, labels and environments are not shown at all, whatever they hold."""
    ip("link", "add", SCRIPT, "type", "ifb")
    config = pod_config("odd", annotations={"token": SECRET}, labels={"token": SECRET})
    pod = run_pod(daemon, config)
    envs = [cri.KeyValue(key="TOKEN", value=SECRET.encode())]
    create(daemon, pod, container_config("odd", envs=envs, annotations={"x": SECRET}, labels={"x": SECRET}))
    html = page.get()[1]
    assert "&lt;script&gt;" in html
    assert html.count("<script") == 1
    assert SECRET not in html
    remove_pod(daemon, pod)
    remove_link(SCRIPT)


def test_another_user(daemon: Daemon, page: Page) -> None:
    """He can connect, and learns nothing; nor does he find the address among the processes."""
    ask = f"import http.client as h; c = h.HTTPConnection('{page.host}'); c.request('GET', '/'); r = c.getresponse(); "
    done = subprocess.run(
        [*NOBODY, "/usr/bin/python3", "-I", "-c", f"{ask}print(r.status, r.read().decode())"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("404 nothing is here")
    secret = page.path.strip("/")
    assert len(secret) > 40
    assert secret.encode() not in Path(f"/proc/{page.process.pid}/cmdline").read_bytes()
    assert page.get("/" + secret[:-1] + "/")[0] == page.get("/")[0] == 404
    assert page.get(Host="node.example:80")[0] == 403


def test_a_thousand_connections(daemon: Daemon, page: Page) -> None:
    """That say nothing, or half of something: the page is there, and little memory stays."""
    assert page.get()[0] == 200
    before = _memory(page)
    host, port = page.host.split(":")
    with contextlib.ExitStack() as stack:
        for number in range(1000):
            with contextlib.suppress(ConnectionError):
                client = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
                client.sendall(b"GET / HTTP/1.1\r\nX: " if number % 2 else b"")
            if number % 100 == 99:
                assert page.get()[0] == 200
    eventually(lambda: page.get()[0] == 200, "it is there afterwards")
    assert _memory(page) - before < 10_000


def test_a_reader_that_never_reads(daemon: Daemon, page: Page) -> None:
    """Of the events nothing is kept for it; others hear all of them."""
    host, port = page.host.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as deaf, page.following() as until:
        deaf.sendall(f"GET {page.path}events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        until("state", lambda part: "ready" in part)
        before = _memory(page)
        for number in range(5):
            pod = run_pod(daemon, pod_config(f"loud{number}"))
            until("pods", lambda part, number=number: f"test/loud{number}" in part)  # type: ignore[misc]
            remove_pod(daemon, pod)
        until("pods", lambda part: "There are none." in part)
        assert _memory(page) - before < 10_000


def test_the_daemon_ends_and_comes_back(daemon: Daemon, page: Page) -> None:
    """The page says so, shows what was last, and goes on."""
    pod = run_pod(daemon, pod_config("stays"))
    with page.following() as until:
        until("pods", lambda part: "test/stays" in part)
        daemon.stop()
        until("state", lambda part: "does not answer" in part)
        assert "test/stays" in page.get()[1]
        daemon.start()
        until("state", lambda part: "Runtime and network are ready" in part)
        remove_pod(daemon, pod)
        until("pods", lambda part: "There are none." in part)


def _memory(page: Page) -> int:
    """The page's resident memory in kB."""
    status = Path(f"/proc/{page.process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])
