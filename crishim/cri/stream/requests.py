"""From a CRI request to what a token stands for: validated, and free of gRPC."""

from typing import NamedTuple

from crishim.cri.stream.remotecommand import Wanted
from crishim.errors import CrishimError, Kind
from crishim.model import ExecSpec
from crishim.pb import cri_pb2 as cri

MAX_COMMAND = 2 << 20  # no kernel executes a longer one by default: a quarter of 8 MiB of stack, execve(2)
MAX_PORTS = 127  # two channels each, numbered by a byte


class Exec(NamedTuple):
    container_id: str
    spec: ExecSpec
    wanted: Wanted

    @property
    def target(self) -> str:
        """Whose part of the limits it uses (limits.py)."""
        return self.container_id


class Attach(NamedTuple):
    container_id: str
    wanted: Wanted

    @property
    def target(self) -> str:
        return self.container_id


class PortForward(NamedTuple):
    pod_id: str
    ports: tuple[int, ...]  # only the old WebSocket form needs them

    @property
    def target(self) -> str:
        return self.pod_id


Waiting = Exec | Attach | PortForward


def from_exec(request: cri.ExecRequest) -> Exec:
    """INVALID without a container, a command or a stream, and for a terminal with its own stderr."""
    wanted = _wanted(request)
    if not request.cmd:
        raise CrishimError(Kind.INVALID, f"exec in container {request.container_id} names no command")
    if sum(len(word) for word in request.cmd) > MAX_COMMAND:
        raise CrishimError(Kind.INVALID, f"the command is longer than {MAX_COMMAND} characters")
    spec = ExecSpec(argv=tuple(request.cmd), **wanted._asdict())
    return Exec(request.container_id, spec, wanted)


def from_attach(request: cri.AttachRequest) -> Attach:
    """INVALID as for exec."""
    return Attach(request.container_id, _wanted(request))


def from_port_forward(request: cri.PortForwardRequest) -> PortForward:
    """INVALID without a pod, or for a number that is no port."""
    if not request.pod_sandbox_id:
        raise CrishimError(Kind.INVALID, "port-forward names no pod")
    if len(request.port) > MAX_PORTS:
        raise CrishimError(Kind.INVALID, f"{len(request.port)} ports are more than {MAX_PORTS}")
    for port in request.port:
        if not 0 < port <= 0xFFFF:
            raise CrishimError(Kind.INVALID, f"{port} is no port", pod=request.pod_sandbox_id)
    return PortForward(request.pod_sandbox_id, tuple(request.port))


def _wanted(request: cri.ExecRequest | cri.AttachRequest) -> Wanted:
    wanted = Wanted(stdin=request.stdin, stdout=request.stdout, stderr=request.stderr, tty=request.tty)
    if not request.container_id:
        raise CrishimError(Kind.INVALID, "the request names no container")
    if not (wanted.stdin or wanted.stdout or wanted.stderr):
        raise CrishimError(Kind.INVALID, "one of stdin, stdout and stderr must be set", container=request.container_id)
    if wanted.tty and wanted.stderr:
        raise CrishimError(
            Kind.INVALID, "tty and stderr cannot both be set: a terminal has one output", container=request.container_id
        )
    return wanted
