"""What the streaming server needs of the node: exec, attach and port-forward (the kubelet's streaming.Runtime).

The server moves bytes and knows no containers; cri/node_streams.py gives it the node's. A session is opened when its
client has created all its streams, and is closed by the server exactly once, whatever happened: closing must end and
free everything that opening made.
"""

from typing import Protocol

from crishim.linux.byte_sockets import ByteSocket
from crishim.model import ExecSpec


class ProcessSession(Protocol):
    """The streams of one process: a command (exec), or the container's own (attach).

    All four byte methods apply backpressure: write_stdin returns when the data is taken, read_* holds back the writer
    until it is called again. Each is called by one task at a time.
    """

    async def write_stdin(self, data: bytes) -> None:
        """Hand bytes to stdin. Data for a stdin that is gone is dropped without an error: its reader may end."""

    async def close_stdin(self) -> None:
        """End of input. With a terminal nothing is closed: there the end of input is a character, as with docker."""

    async def read_stdout(self) -> bytes:
        """The next bytes of stdout (of the terminal, if there is one), b"" at its end."""

    async def read_stderr(self) -> bytes:
        """The next bytes of stderr, b"" at its end or if there is none."""

    async def resize(self, width: int, height: int) -> None:
        """Set the terminal's size in characters; without a terminal nothing happens."""

    async def wait(self) -> int:
        """Wait for the end and return the exit code (128 + signal for a signal); 0 for attach."""

    async def close(self) -> None:
        """Free everything. A command that still runs is killed with its descendants; attach only disconnects."""


class StreamingRuntime(Protocol):
    """What can be streamed to."""

    async def open_exec(self, container_id: str, spec: ExecSpec) -> ProcessSession:
        """Start a command in a container. NOT_FOUND, PRECONDITION (not running, command cannot be executed)."""

    async def open_attach(
        self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> ProcessSession:
        """Connect to the streams of a running container. NOT_FOUND, PRECONDITION (not running)."""

    async def open_port(self, pod_id: str, port: int) -> ByteSocket:
        """Connect to a TCP port on a pod's loopback. NOT_FOUND, UNAVAILABLE (nothing listens there)."""
