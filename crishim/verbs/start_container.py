"""StartContainer: let the created process execute its command."""

import time

from msgspec.structs import replace

from crishim.engine.handlers import Handlers
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState, can_start
from crishim.model import ContainerRecord
from crishim.state.locks import Locks
from crishim.state.store import Store
from crishim.verbs.exits import START_FAILED, START_FAILED_CODE
from crishim.verbs.stop_container import stop_container


async def start_container(id: str, *, containers: Store[ContainerRecord], handlers: Handlers, locks: Locks) -> None:
    """Start a CREATED container. PRECONDITION in any other state.

    A start that fails leaves the container EXITED with reason StartError and the runtime's words as its message.
    """
    container = containers.find(id)
    async with locks.holding(container.id):
        container = containers.find(container.id)
        if not can_start(container.state):
            raise CrishimError(
                Kind.PRECONDITION,
                f"container {container.id[:13]} is {container.state}, not created: it cannot be started",
                container=container.id,
            )
        await containers.update(container.id, lambda c: replace(c, state=ContainerState.STARTING))
        started = time.time_ns()
        try:
            await handlers.get(container.handler).start(container.id)
        except CrishimError as error:
            said = error.message
            await containers.update(container.id, lambda c: _failed(c, said))
            failure = error
        else:
            await containers.update(container.id, lambda c: _running(c, started))
            return
    await stop_container(container.id, 0, containers=containers)
    raise failure


def _running(container: ContainerRecord, started: int) -> ContainerRecord:
    """RUNNING, unless its end was recorded first: a short command may be over by now."""
    if container.state is ContainerState.STARTING:
        return replace(container, state=ContainerState.RUNNING, started_at=started)
    return replace(container, started_at=min(started, container.finished_at))


def _failed(container: ContainerRecord, said: str) -> ContainerRecord:
    """Why it will be EXITED; the state itself follows when the created process is dead (exits.py)."""
    code = container.exit_code if container.state is ContainerState.STARTING else START_FAILED_CODE
    return replace(container, reason=START_FAILED, message=said, exit_code=code)
