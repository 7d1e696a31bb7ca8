"""PID mode TARGET: a container joins the PID namespace of another one of its pod (`kubectl debug --target`).

A pid may be reused: before the runtime opens /proc/PID/ns/pid the target may exit and its pid become that of a process
of the host. So the namespace is opened here, then the process is checked to be the same, and the runtime is given our
descriptor's path, which stays valid.
"""

import contextlib
import os
from collections.abc import AsyncIterator

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.linux import executors, processes
from crishim.model import PodRecord, ProcessRef
from crishim.node import Node
from crishim.pb import cri_pb2 as cri


@contextlib.asynccontextmanager
async def target_namespace(node: Node, pod: PodRecord, config: cri.ContainerConfig) -> AsyncIterator[str]:
    """A path of the PID namespace to join, valid during the context; "" for another PID mode.

    Raises PRECONDITION if the target does not run in this pod.
    """
    options = config.linux.security_context.namespace_options
    if options.pid != cri.TARGET:
        yield ""
        return
    target = node.containers.find(options.target_id)
    fd = None
    if target.pod_id == pod.id and target.state is ContainerState.RUNNING and target.process is not None:
        fd = await executors.processes(open_namespace, target.process)
    if fd is None:
        raise CrishimError(Kind.PRECONDITION, f"target container {options.target_id[:13]!r} does not run in this pod")
    try:
        yield f"/proc/{os.getpid()}/fd/{fd}"
    finally:
        os.close(fd)


def open_namespace(process: ProcessRef) -> int | None:
    """A descriptor of this process's PID namespace; None if it has exited."""
    try:
        fd = os.open(f"/proc/{process.pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    if not processes.is_alive(process):
        os.close(fd)
        return None
    return fd
