"""Sessions of the streaming server as operations whose await points are gone through: exec, attach, port-forward."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crishim.cri.stream.portforward.protocol import PROTOCOL
from hack.campaigns.awaits import Broken, FaultyDaemon
from hack.campaigns.scenarios import PodScenario
from tests.support.daemon import eventually
from tests.support.streams.remotecommand import SpdyCommand, WebSocketCommand
from tests.support.streams.spdy import DirectTransport, SpdyStreams, TunnelTransport
from tests.support.streams.upgrade import Refused

PATIENCE = 20.0  # seconds for an answer
COMMAND = ["sh", "-c", "cat; echo err >&2; exit 3"]
ECHO = ["sh", "-c", "httpd -p 80 -h /etc; while read line; do echo got $line; done"]


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
        except (AssertionError, OSError, Refused, json.JSONDecodeError) as error:
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
        with contextlib.closing(SpdyCommand(url, stdin=True)) as command:
            command.write(b"hello")
            command.close_stdin()
            found = command.result(PATIENCE)
        assert found == (3, b"hello", b"err\n"), found


class ExecTerminal(SessionScenario):
    title = "exec with a terminal over SPDY,"

    def talk(self) -> None:
        command = ["sh", "-c", "read line; stty size; echo got $line; exit 3"]
        url = self.daemon.call("Exec", container_id=self.container, cmd=command, stdin=True, stdout=True, tty=True).url
        with contextlib.closing(SpdyCommand(url, stdin=True, tty=True)) as terminal:
            terminal.resize(81, 32)
            terminal.write(b"hello\n")
            code, out, _ = terminal.result(PATIENCE)
        assert code == 3, code
        assert b"got hello\r\n" in out, out


class ExecWebSocket(SessionScenario):
    title = "exec over WebSocket,"

    def talk(self) -> None:
        url = self.daemon.call(
            "Exec", container_id=self.container, cmd=COMMAND, stdin=True, stdout=True, stderr=True
        ).url
        with contextlib.closing(WebSocketCommand(url)) as command:
            command.write(b"hello")
            command.close_stdin()
            found = command.result(PATIENCE)
        assert found == (3, b"hello", b"err\n"), found


class Attach(SessionScenario):
    title = "attach over SPDY,"

    def talk(self) -> None:
        url = self.daemon.call("Attach", container_id=self.container, stdin=True, stdout=True).url
        with contextlib.closing(SpdyCommand(url, stdin=True, stderr=False)) as session:
            session.write(b"hello\n")
            session.until(b"got hello", PATIENCE)


class Forward(SessionScenario):
    title = "port-forward over SPDY,"
    transport: type[DirectTransport] | type[TunnelTransport] = DirectTransport

    def prepare(self) -> None:
        super().prepare()
        listens = "until wget -q -O /dev/null http://127.0.0.1/hosts; do sleep 0.02; done"
        self.daemon.call("ExecSync", container_id=self.container, cmd=["sh", "-c", listens], timeout=20)

    def talk(self) -> None:
        url = self.daemon.call("PortForward", pod_sandbox_id=self.pod, port=[80]).url
        streams = SpdyStreams(self.transport(url, PROTOCOL))
        with contextlib.closing(streams):
            error = streams.open(streamtype="error", port="80", requestid="0")
            data = streams.open(streamtype="data", port="80", requestid="0")
            streams.send(data, b"GET /hosts HTTP/1.0\r\n\r\n", fin=True)
            streams.until(lambda: streams.ended >= {error, data}, PATIENCE)
        assert not streams.received[error], streams.received
        assert b"localhost" in streams.received[data], streams.received


class ForwardTunnel(Forward):
    title = "port-forward over SPDY in a WebSocket,"
    transport = TunnelTransport


SESSIONS = (Exec, ExecTerminal, ExecWebSocket, Attach, Forward, ForwardTunnel)
