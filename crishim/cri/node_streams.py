"""NodeStreams opens exec, attach and port-forward for the streaming server: its StreamingRuntime."""

import msgspec

from crishim.engine.attach import AttachSession
from crishim.engine.exec.session import ExecSession
from crishim.linux.byte_sockets import ByteSocket
from crishim.model import ExecSpec
from crishim.node import Node
from crishim.operations import exec, open_port


class NodeStreams(msgspec.Struct, frozen=True):
    """Opens commands in containers, containers' own streams, and ports of pods."""

    node: Node

    async def open_exec(self, container_id: str, spec: ExecSpec) -> ExecSession:
        return await exec.open_exec(self.node, container_id, spec)

    async def open_attach(
        self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> AttachSession:
        return await exec.open_attach(self.node, container_id, stdin=stdin, stdout=stdout, stderr=stderr, tty=tty)

    async def open_port(self, pod_id: str, port: int) -> ByteSocket:
        return await open_port.open_port(self.node, pod_id, port)
