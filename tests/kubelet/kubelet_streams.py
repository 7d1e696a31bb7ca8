"""exec, attach and port-forward through the kubelet's own port, over WebSocket and over SPDY."""

import urllib.parse

from tests.support.kubelet.process import NAME, PORT
from tests.support.streams.remotecommand import V5, SpdyCommand, WebSocketCommand


def over_websocket(
    kind: str, pod: str, container: str, *command: str, stdin: bool = False, tty: bool = False, protocol: str = V5
) -> WebSocketCommand:
    """One exec or attach. The kubelet translates v5 to SPDY (gate ExtendWebSocketsToKubelet), v4 it passes on."""
    return WebSocketCommand(command_url(kind, pod, container, command, stdin=stdin, tty=tty), protocol)


def over_spdy(
    kind: str, pod: str, container: str, *command: str, stdin: bool = False, tty: bool = False
) -> SpdyCommand:
    """One exec or attach."""
    return SpdyCommand(command_url(kind, pod, container, command, stdin=stdin, tty=tty), stdin=stdin, tty=tty)


def command_url(kind: str, pod: str, container: str, command: tuple[str, ...], *, stdin: bool, tty: bool) -> str:
    query = [("command", word) for word in command] + [("output", "1")]
    query += [("input", "1")] * stdin + [("tty", "1") if tty else ("error", "1")]
    return kubelet_url(kind, pod, container, query)


def forward_url(pod: str, port: int) -> str:
    """It names the port: a kubelet that does not know the tunnel takes it for the older WebSocket form."""
    return kubelet_url("portForward", pod, "", [("port", str(port))])


def kubelet_url(kind: str, pod: str, container: str, query: list[tuple[str, str]]) -> str:
    """The address of `exec`, `attach` or `portForward` of a pod at the kubelet."""
    parts = filter(None, (kind, "default", f"{pod}-{NAME}", container))
    return f"https://127.0.0.1:{PORT}/{'/'.join(parts)}?{urllib.parse.urlencode(query)}"
