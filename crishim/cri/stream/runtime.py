"""The streaming server's interface to the node: exec, attach and port-forward (the kubelet's streaming.Runtime).

cri/node_streams.py implements it. A session is opened when its client has created all its streams, and is closed by the
server exactly once, whatever happened: close() must end and free everything that opening made.
"""

from typing import Protocol

from crishim.linux.byte_sockets import ByteSocket
from crishim.model import ExecSpec


class ProcessSession(Protocol):
    """The streams of one process: a command (exec), or the container's own (attach).

    All byte methods apply backpressure: write_stdin returns when the data is written, and the process blocks until
    read_* is called again. Each is called by one task at a time.
    """

    async def write_stdin(self, data: bytes) -> None:
        """Write to stdin. If its reader has closed it, the data is dropped without an error."""

    async def close_stdin(self) -> None:
        """Close stdin. Does nothing with a terminal: there a character ends the input, as with docker."""

    async def read_stdout(self) -> bytes:
        """The next bytes of stdout (of the terminal, if there is one), b"" at its end."""

    async def read_stderr(self) -> bytes:
        """The next bytes of stderr, b"" at its end or if there is none."""

    async def resize(self, width: int, height: int) -> None:
        """Set the terminal's size in characters; does nothing without a terminal."""

    async def wait(self) -> int:
        """Wait for the process's end and return the exit code (128 + signal for a signal); 0 for attach."""

    async def close(self) -> None:
        """Free everything. A command that still runs is killed with its descendants; attach only disconnects."""


class StreamingRuntime(Protocol):
    """Opens sessions and ports."""

    async def open_exec(self, container_id: str, spec: ExecSpec) -> ProcessSession:
        """Start a command in a container. Raises NOT_FOUND, PRECONDITION (not running, command cannot be executed)."""

    async def open_attach(
        self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> ProcessSession:
        """Connect to the streams of a running container. Raises NOT_FOUND, PRECONDITION (not running)."""

    async def open_port(self, pod_id: str, port: int) -> ByteSocket:
        """Connect to a TCP port on a pod's loopback. Raises NOT_FOUND, UNAVAILABLE (connection refused)."""
