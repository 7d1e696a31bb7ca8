"""Sessions of the streaming server as operations whose await points are gone through: exec, attach, port-forward."""

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crishim.cri.stream.remotecommand.protocol import V4
from hack.campaigns.awaits import Broken, FaultyDaemon
from hack.campaigns.scenarios import PodScenario
from hack.kubelet.spdy import FORWARD, Direct, Streams, Tunnel
from hack.kubelet.streams import WebSocket, exit_code
from tests.node.daemon import eventually
from tests.node.stream_attacks import ask

PATIENCE = 20.0  # seconds for an answer
V5 = "v5.channel.k8s.io"
COMMAND = ["sh", "-c", "cat; echo err >&2; exit 3"]
ECHO = ["sh", "-c", "httpd -p 80 -h /etc; while read line; do echo got $line; done"]


def upgraded(method: str, url: str, headers: list[str]) -> tuple[socket.socket, bytes]:
    """A connection after its 101."""
    sock, head = ask(url, *headers, method=method)
    if " 101 " not in head:
        sock.close()
        raise Broken(head)
    sock.settimeout(PATIENCE)
    return sock, b""


class SessionScenario(PodScenario):
    """A session with a container that echoes, and serves /etc on port 80."""

    operation = "session"
    title = ""
    wish_of: Mapping[str, Any] = {"command": ECHO, "stdin": True, "log_path": "log"}

    def __init__(self, daemon: FaultyDaemon, handler: str = "crun") -> None:
        super().__init__(daemon, None, handler)
        self.part = f"{self.title} {handler}"

    def prepare(self) -> None:
        super().prepare()
        info = self.daemon.call("ContainerStatus", container_id=self.container, verbose=True).info["info"]
        self.process = int(json.loads(info)["pid"])

    def call(self) -> None:
        try:
            self.talk()
        except (AssertionError, OSError, json.JSONDecodeError) as error:
            raise Broken(f"{type(error).__name__}: {error}") from error

    def talk(self) -> None:
        """One session, from its URL to its end."""
        raise NotImplementedError

    def clean(self) -> None:
        """What a session started ends with it, whatever happened to it."""
        try:
            eventually(lambda: not self.others(), "no command is left in the container", 5)
        finally:
            super().clean()

    def others(self) -> list[str]:
        """Processes of the container but its first and that one's children from before: httpd."""
        found = []
        for pid in _in_namespace_of(self.process):
            words = (Path("/proc") / pid / "cmdline").read_bytes().split(b"\0") if int(pid) != self.process else []
            if words and words[0] != b"httpd":
                found.append(b" ".join(words).decode())
        return found


def _in_namespace_of(process: int) -> Iterator[str]:
    namespace = Path(f"/proc/{process}/ns/pid").readlink()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "ns/pid").readlink() == namespace and (entry / "cmdline").read_bytes():
                    yield entry.name


class Exec(SessionScenario):
    title = "exec over SPDY,"

    def talk(self) -> None:
        url = self.daemon.call(
            "Exec", container_id=self.container, cmd=COMMAND, stdin=True, stdout=True, stderr=True
        ).url
        streams = Streams(Direct(url, V4, upgraded))
        with contextlib.closing(streams):
            ids = {kind: streams.open(streamtype=kind) for kind in ("error", "stdin", "stdout", "stderr")}
            streams.send(ids["stdin"], b"hello", fin=True)
            read = [ids[kind] for kind in ("error", "stdout", "stderr")]
            streams.until(lambda: streams.ended >= set(read), PATIENCE)
            error, out, err = (streams.received[stream] for stream in read)
        found = (exit_code(json.loads(error)), out, err)
        assert found == (3, b"hello", b"err\n"), found


class ExecTerminal(SessionScenario):
    title = "exec with a terminal over SPDY,"

    def talk(self) -> None:
        command = ["sh", "-c", "read line; stty size; echo got $line; exit 3"]
        url = self.daemon.call("Exec", container_id=self.container, cmd=command, stdin=True, stdout=True, tty=True).url
        streams = Streams(Direct(url, V4, upgraded))
        with contextlib.closing(streams):
            ids = {kind: streams.open(streamtype=kind) for kind in ("error", "stdin", "stdout", "resize")}
            streams.send(ids["resize"], json.dumps({"Width": 81, "Height": 32}).encode())
            streams.send(ids["stdin"], b"hello\n")
            read = [ids["error"], ids["stdout"]]
            streams.until(lambda: streams.ended >= set(read), PATIENCE)
            error, out = (streams.received[stream] for stream in read)
        assert exit_code(json.loads(error)) == 3, error
        assert b"got hello\r\n" in out, out


class ExecWebSocket(SessionScenario):
    title = "exec over WebSocket,"

    def talk(self) -> None:
        url = self.daemon.call(
            "Exec", container_id=self.container, cmd=COMMAND, stdin=True, stdout=True, stderr=True
        ).url
        read = {1: b"", 2: b"", 3: b""}
        with contextlib.closing(WebSocket(url, V5, upgraded)) as client:
            client.send(b"\0hello")
            client.send(bytes([255, 0]))
            while message := client.receive(PATIENCE):
                if message[:1] != b"\xff":
                    read[message[0]] += message[1:]
        found = (exit_code(json.loads(read[3])), read[1], read[2])
        assert found == (3, b"hello", b"err\n"), found


class Attach(SessionScenario):
    title = "attach over SPDY,"

    def talk(self) -> None:
        url = self.daemon.call("Attach", container_id=self.container, stdin=True, stdout=True).url
        streams = Streams(Direct(url, V4, upgraded))
        with contextlib.closing(streams):
            ids = {kind: streams.open(streamtype=kind) for kind in ("error", "stdin", "stdout")}
            streams.send(ids["stdin"], b"hello\n")
            out = ids["stdout"]
            streams.until(lambda: b"got hello" in streams.received[out] or out in streams.ended, PATIENCE)
            assert b"got hello" in streams.received[out], streams.received


class Forward(SessionScenario):
    title = "port-forward over SPDY,"
    transport: type[Direct] | type[Tunnel] = Direct

    def prepare(self) -> None:
        super().prepare()
        listens = "until wget -q -O /dev/null http://127.0.0.1/hosts; do sleep 0.02; done"
        self.daemon.call("ExecSync", container_id=self.container, cmd=["sh", "-c", listens], timeout=20)

    def talk(self) -> None:
        url = self.daemon.call("PortForward", pod_sandbox_id=self.pod, port=[80]).url
        streams = Streams(self.transport(url, FORWARD, upgraded))
        with contextlib.closing(streams):
            error = streams.open(streamtype="error", port="80", requestid="0")
            data = streams.open(streamtype="data", port="80", requestid="0")
            streams.send(data, b"GET /hosts HTTP/1.0\r\n\r\n", fin=True)
            streams.until(lambda: streams.ended >= {error, data}, PATIENCE)
        assert not streams.received[error], streams.received
        assert b"localhost" in streams.received[data], streams.received


class ForwardTunnel(Forward):
    title = "port-forward over SPDY in a WebSocket,"
    transport = Tunnel


SESSIONS = (Exec, ExecTerminal, ExecWebSocket, Attach, Forward, ForwardTunnel)
