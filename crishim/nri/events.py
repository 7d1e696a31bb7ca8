"""The events plugins subscribe to, as a table: method and answer of each, and whether a refusal fails the call."""

from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from crishim.pb import nri_pb2 as nri

ALL = (1 << (nri.LAST - 1)) - 1


@dataclass(frozen=True)
class Event:
    number: int
    method: str
    answer: type[Message]
    notice: bool  # a refusal is only logged, and the other plugins are notified nevertheless
    state_change: bool  # plugins before v0.12 get it as StateChange

    @property
    def bit(self) -> int:
        return 1 << (self.number - 1)


def _event(number: int, *, notice: bool = False, state_change: bool = False) -> Event:
    method = "".join(word.capitalize() for word in nri.Event.Name(number).split("_"))  # type: ignore[arg-type]
    return Event(number, method, getattr(nri, f"{method}Response"), notice, state_change)


RUN_POD = _event(nri.RUN_POD_SANDBOX, state_change=True)
STOP_POD = _event(nri.STOP_POD_SANDBOX, notice=True, state_change=True)
REMOVE_POD = _event(nri.REMOVE_POD_SANDBOX, notice=True, state_change=True)
CREATE = _event(nri.CREATE_CONTAINER)
POST_CREATE = _event(nri.POST_CREATE_CONTAINER, notice=True, state_change=True)
START = _event(nri.START_CONTAINER, state_change=True)
POST_START = _event(nri.POST_START_CONTAINER, notice=True, state_change=True)
UPDATE = _event(nri.UPDATE_CONTAINER)
POST_UPDATE = _event(nri.POST_UPDATE_CONTAINER, notice=True, state_change=True)
STOP = _event(nri.STOP_CONTAINER, notice=True)
REMOVE = _event(nri.REMOVE_CONTAINER, notice=True, state_change=True)
UPDATE_POD = _event(nri.UPDATE_POD_SANDBOX)
POST_UPDATE_POD = _event(nri.POST_UPDATE_POD_SANDBOX, notice=True, state_change=True)
VALIDATE = _event(nri.VALIDATE_CONTAINER_ADJUSTMENT)
EVENTS = (
    *(RUN_POD, STOP_POD, REMOVE_POD, CREATE, POST_CREATE, START, POST_START, UPDATE, POST_UPDATE, STOP, REMOVE),
    *(UPDATE_POD, POST_UPDATE_POD, VALIDATE),
)


def state_change(event: Event, request: Any) -> nri.StateChangeEvent:
    """The StateChange form of a request, for older plugins."""
    change = nri.StateChangeEvent(event=event.number, pod=request.pod)  # type: ignore[arg-type]
    if "container" in request.DESCRIPTOR.fields_by_name:
        change.container.CopyFrom(request.container)
    return change
