"""Exec, Attach and PortForward requests, validated, as the streaming server keeps them for a token."""

from typing import NamedTuple

from crishim.cri.stream.remotecommand.protocol import StreamOptions
from crishim.errors import CrishimError, Kind
from crishim.model import ExecSpec
from crishim.pb import cri_pb2 as cri

MAX_COMMAND = 2 << 20  # no kernel executes a longer one by default: a quarter of 8 MiB of stack, execve(2)
MAX_PORTS = 127  # two channels each, numbered by a byte


class ExecStream(NamedTuple):
    container_id: str
    spec: ExecSpec
    options: StreamOptions

    @property
    def target(self) -> str:
        """The container or pod whose share of the limits it uses (limits.py)."""
        return self.container_id


class AttachStream(NamedTuple):
    container_id: str
    options: StreamOptions

    @property
    def target(self) -> str:
        return self.container_id


class PortForwardStream(NamedTuple):
    pod_id: str
    ports: tuple[int, ...]  # only the old WebSocket form needs them

    @property
    def target(self) -> str:
        return self.pod_id


StreamRequest = ExecStream | AttachStream | PortForwardStream


def from_exec(request: cri.ExecRequest) -> ExecStream:
    """Raises INVALID without a container, a command or a stream, and for tty with stderr."""
    options = _options(request)
    if not request.cmd:
        raise CrishimError(Kind.INVALID, f"exec in container {request.container_id} names no command")
    if sum(len(word) for word in request.cmd) > MAX_COMMAND:
        raise CrishimError(Kind.INVALID, f"the command is longer than {MAX_COMMAND} characters")
    spec = ExecSpec(argv=tuple(request.cmd), **options._asdict())
    return ExecStream(request.container_id, spec, options)


def from_attach(request: cri.AttachRequest) -> AttachStream:
    """Raises INVALID as for exec."""
    return AttachStream(request.container_id, _options(request))


def from_port_forward(request: cri.PortForwardRequest) -> PortForwardStream:
    """Raises INVALID without a pod, or for an invalid port."""
    if not request.pod_sandbox_id:
        raise CrishimError(Kind.INVALID, "port-forward names no pod")
    if len(request.port) > MAX_PORTS:
        raise CrishimError(Kind.INVALID, f"{len(request.port)} ports are more than {MAX_PORTS}")
    for port in request.port:
        if not 0 < port <= 0xFFFF:
            raise CrishimError(Kind.INVALID, f"{port} is no port", pod=request.pod_sandbox_id)
    return PortForwardStream(request.pod_sandbox_id, tuple(request.port))


def _options(request: cri.ExecRequest | cri.AttachRequest) -> StreamOptions:
    options = StreamOptions(stdin=request.stdin, stdout=request.stdout, stderr=request.stderr, tty=request.tty)
    if not request.container_id:
        raise CrishimError(Kind.INVALID, "the request names no container")
    if not (options.stdin or options.stdout or options.stderr):
        raise CrishimError(Kind.INVALID, "one of stdin, stdout and stderr must be set", container=request.container_id)
    if options.tty and options.stderr:
        raise CrishimError(
            Kind.INVALID, "tty and stderr cannot both be set: a terminal has one output", container=request.container_id
        )
    return options
