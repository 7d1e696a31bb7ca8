"""Exec and attach over several streams: Kubernetes' remote command protocol, versions 1 to 5.

Source: k8s.io/apimachinery/pkg/util/remotecommand (names, numbers) and the reference server, k8s.io/cri-streaming.

    version  adds
    1, 2     stdin, stdout, stderr, and an error stream that ends with a text (1 closes its side of stdin at once)
    3        a resize stream of JSON objects {"Width": 80, "Height": 24}
    4        the error stream ends with a metav1.Status as JSON, so that an exit code arrives as a number
    5        WebSocket only: a message that closes one channel, so that stdin can end before the session

Over SPDY every stream is opened by the client and named by its streamType header; over WebSocket the streams are
numbered channels. In both, the client opens only what it asked for in the CRI request, and always the error stream.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

V1, V2, V3, V4, V5 = ("channel.k8s.io", *(f"v{n}.channel.k8s.io" for n in range(2, 6)))
SPDY_VERSIONS = (V4, V3, V2, V1)  # best first; no client speaks 5 over SPDY

STREAM_TYPE = "streamtype"  # SPDY header, "streamType" in lower case
STDIN, STDOUT, STDERR, ERROR, RESIZE = "stdin", "stdout", "stderr", "error", "resize"
CHANNELS = (STDIN, STDOUT, STDERR, ERROR, RESIZE)  # by WebSocket channel number

MAX_RESIZE = 4096  # bytes of one resize object


def negotiate(offered: Sequence[str], supported: Sequence[str]) -> str | None:
    """The first of the client's versions that the server supports."""
    return next((name for name in offered if name in supported), None)


class StreamOptions(NamedTuple):
    """The streams a CRI request asks for."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool

    def streams(self, version: str) -> frozenset[str]:
        """The streams a client opens: those requested, error, and with a terminal, from version 3 on, resize."""
        asked = {STDIN: self.stdin, STDOUT: self.stdout, STDERR: self.stderr}
        resize = self.tty and version in (V3, V4, V5)
        return frozenset({ERROR, *(n for n, on in asked.items() if on), *([RESIZE] if resize else ())})


class Outcome(NamedTuple):
    """How a session ended: by an exit code, or by an error text if there was none."""

    exit_code: int = 0
    error: str = ""

    def report(self, version: str) -> bytes:
        """The error stream's content; empty for success before version 4."""
        status = self.status()
        if version in (V4, V5):
            return json.dumps(status, separators=(",", ":")).encode()
        return str(status.get("message", "")).encode()

    def status(self) -> dict[str, Any]:
        """A metav1.Status."""
        if self.error:
            message = f"Internal error occurred: {self.error}"
            return {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500}
        if self.exit_code == 0:
            return {"metadata": {}, "status": "Success"}
        return {
            "metadata": {},
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: {self.exit_code}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(self.exit_code)}]},
        }


class Size(NamedTuple):
    width: int  # columns
    height: int  # rows


class ResizeDecoder:
    """The resize stream: JSON objects one after another, in pieces of any size. Objects are not nested."""

    def __init__(self) -> None:
        self._carry = bytearray()  # what may be the beginning of an object

    def receive_data(self, data: bytes) -> list[Size]:
        """The sizes completed by these bytes. Invalid ones are dropped: a bad size must not end a session."""
        *complete, rest = data.split(b"}")
        sizes = []
        for part in complete:
            if len(self._carry) + len(part) <= MAX_RESIZE:
                sizes += _size(bytes(self._carry) + part + b"}")
            self._carry.clear()
        if len(self._carry) <= MAX_RESIZE:  # above it, the object is dropped at its end
            self._carry += rest
        return sizes


def _size(text: bytes) -> list[Size]:
    try:
        value = json.loads(text[text.rfind(b"{") :])
    except (ValueError, RecursionError):
        return []
    if not isinstance(value, dict):
        return []
    width, height = value.get("Width"), value.get("Height")
    if isinstance(width, int) and isinstance(height, int) and 0 < width <= 0xFFFF and 0 < height <= 0xFFFF:
        return [Size(width, height)]
    return []
