"""exec, attach, port-forward and logs through the kubelet's own port."""

import functools
import gzip
import time
from collections.abc import Callable

import pytest

from tests.kubelet.kubelet_streams import forward_url, over_spdy, over_websocket
from tests.kubelet.shapes import pod, shell
from tests.support.daemon import eventually
from tests.support.kubelet.node import Node, restarts
from tests.support.streams.portforward import forward_over_spdy, forward_over_websocket
from tests.support.streams.remotecommand import V4, RemoteCommand
from tests.support.streams.spdy import DirectTransport, TunnelTransport

pytestmark = pytest.mark.node
Client = Callable[..., RemoteCommand]  # of kubelet_streams
CLIENTS = pytest.mark.parametrize("client", [over_websocket, over_spdy], ids=["WebSocket", "SPDY"])


@CLIENTS
def test_exec(node: Node, client: Client) -> None:
    """Both streams apart, the exit code, standard input until its end, and a terminal with its size."""
    node.run("exec", pod())
    check_exec(client)


def check_exec(remote: Client) -> None:
    """What is to be seen of exec in pod `exec`."""
    script = "echo out; echo err >&2; exit 7"
    assert remote("exec", "exec", "main", "sh", "-c", script).result() == (7, b"out\n", b"err\n")
    counted = remote("exec", "exec", "main", "wc", "-c", stdin=True)
    for _ in range(64):
        counted.write(bytes(16384))
    counted.close_stdin()
    code, out, _ = counted.result()
    assert (code, int(out)) == (0, 1 << 20)
    terminal = remote("exec", "exec", "main", "sh", stdin=True, tty=True)
    terminal.resize(91, 37)
    terminal.write(b"until stty size | grep 91; do sleep 0.1; done; tty; exit 3\n")
    code, out, _ = terminal.result()
    assert code == 3
    assert b"37 91" in out
    assert b"/dev/pts/0" in out


def test_exec_by_the_older_protocol(node: Node) -> None:
    """v4 over WebSocket reaches the runtime as it is: output, exit code, standard input, a terminal."""
    node.run("exec", pod())
    older = functools.partial(over_websocket, protocol=V4)
    script = "echo out; echo err >&2; exit 7"
    assert older("exec", "exec", "main", "sh", "-c", script).result() == (7, b"out\n", b"err\n")
    first = older("exec", "exec", "main", "head", "-n", "1", stdin=True)
    first.write(b"a line\n")
    assert first.result() == (0, b"a line\n", b"")
    assert b"/dev/pts/0" in older("exec", "exec", "main", "tty", stdin=True, tty=True).result()[1]


@CLIENTS
def test_attach(node: Node, client: Client) -> None:
    """What the container writes from now on arrives, what is written reaches its standard input."""
    main = shell("while read -r line; do echo got $line; done; sleep 1000", stdin=True)
    node.run("attach", pod(main))
    session = client("attach", "attach", "main", stdin=True)
    session.write(b"hello\n")
    assert session.until(b"got hello\n") == b"got hello\n"
    session.close()
    again = client("attach", "attach", "main", stdin=True)
    again.write(b"again\n")
    assert b"got again\n" in again.until(b"got again\n")
    again.close()
    eventually(lambda: node.logs("attach", "main") == "got hello\ngot again\n", "both are in the log")


def serve(node: Node) -> None:
    """The pods `forward` and `forward-host`, each with a web server on its loopback."""
    script = "mkdir /w; echo {0} >/w/index.html; exec httpd -f -p 127.0.0.1:{1} -h /w"
    ready = {"exec": {"command": ["sh", "-c", "netstat -ltn | grep -q LISTEN"]}, "periodSeconds": 1}
    node.put("forward", pod(shell(script.format("inside", 8080), readinessProbe=ready)))
    node.put("forward-host", pod(shell(script.format("outside", 8081), readinessProbe=ready), hostNetwork=True))
    for name in ("forward", "forward-host"):
        node.ready(name)


def test_port_forward(node: Node) -> None:
    """A port of the pod's loopback, or of a host-network pod, answers: over SPDY, over SPDY in a WebSocket, over v4."""
    serve(node)
    get = b"GET / HTTP/1.0\r\n\r\n"
    for name, port, text in (("forward", 8080, b"inside\n"), ("forward-host", 8081, b"outside\n")):
        url = forward_url(name, port)
        assert forward_over_websocket(url, get).endswith(text)
        for transport in (DirectTransport, TunnelTransport):
            answers = forward_over_spdy(url, port, [get] * 5, transport)
            assert [answer.endswith(text) for answer in answers] == [True] * 5


def test_port_forward_to_nobody(node: Node) -> None:
    """A port nobody listens at is told on the error stream, and the session goes on."""
    node.run("forward-none", pod())
    with pytest.raises(AssertionError, match="9999"):
        forward_over_spdy(forward_url("forward-none", 9999), 9999, [b"hello"])


def test_logs(node: Node) -> None:
    """Whole, by tail, with time stamps, of the attempt before."""
    node.run("logs", pod(shell("for n in 1 2 3; do echo line $n; done; test -e /v/x || { touch /v/x; sleep 1; exit 1; }"
                               "; sleep 1000", volumeMounts=[{"name": "v", "mountPath": "/v"}]),
                         volumes=[{"name": "v", "emptyDir": {}}]))  # fmt: skip
    node.wait("logs", lambda p: restarts(p) == 1 and "running" in p["status"]["containerStatuses"][0]["state"], "again")
    eventually(lambda: node.logs("logs", "main").endswith("3\n"), "it has written")
    assert node.logs("logs", "main") == "line 1\nline 2\nline 3\n"
    assert node.logs("logs", "main", tailLines=1) == "line 3\n"
    assert node.logs("logs", "main", previous="true") == "line 1\nline 2\nline 3\n"
    assert node.logs("logs", "main", timestamps="true").split()[0].startswith(time.strftime("%Y-", time.gmtime()))


@pytest.mark.fact("log lines and rotation")
def test_log_rotation_loses_no_line(node: Node) -> None:
    """The kubelet rotates while the pod writes in bursts at full speed: every line is there, once and whole."""
    count = 240000
    burst = "i=$((i+1)); echo line $i padding; [ $((i % 10000)) -gt 0 ] || sleep 0.4"
    script = f"i=0; while [ $i -lt {count} ]; do {burst}; done; echo the end; sleep 1000"
    node.run("rotate", pod(shell(script)))
    directory = next(node.kubelet.pod_logs.glob("default_rotate-*/main"))
    newest = directory / "0.log"
    eventually(lambda: newest.exists() and newest.read_bytes().endswith(b" the end\n"), "all is written", 90)
    lines: list[str] = []
    for path in sorted(directory.iterdir(), key=lambda p: (p == newest, p.name)):  # the time of rotation is in the name
        data = path.read_bytes()
        lines += (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines()
    assert len(list(directory.iterdir())) > 2, "it was rotated"
    texts = [""]
    for line in lines:  # "time stream P|F text"; P: the rest of this line follows
        _, _, tag, text = line.split(" ", 3)
        texts[-1] += text
        texts += [""] * (tag == "F")
    assert texts.pop() == ""
    assert texts == [f"line {n} padding" for n in range(1, count + 1)] + ["the end"]
