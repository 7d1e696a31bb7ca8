"""The one exception of this project: a kind, one sentence that names the thing, and facts.

Raised once where the fact is known, logged once at the edge, and turned into a gRPC code by the table in
crishim/cri/errors.py. No gRPC in here: the kinds are the domain's own, and happen to be few.
"""

from enum import StrEnum


class Kind(StrEnum):
    """What went wrong, as the caller can act on it."""

    INVALID = "invalid"  # the request can never work as it is written
    NOT_FOUND = "not found"
    EXISTS = "exists"  # a name or id is taken
    PRECONDITION = "precondition"  # the state of the node or the pod forbids it now
    ABORTED = "aborted"  # lost a race for a thing somebody else holds
    DENIED = "denied"  # policy or credentials
    EXHAUSTED = "exhausted"  # disk, addresses, memory
    DEADLINE = "deadline"
    UNAVAILABLE = "unavailable"  # try again later: starting, or a peer that does not answer
    UNIMPLEMENTED = "unimplemented"
    INTERNAL = "internal"
    UNKNOWN = "unknown"  # the kubelet reads some texts only under gRPC's UNKNOWN: see crishim/cri/errors.py


class CrishimError(Exception):
    """An error with a kind and facts.

    message: one sentence for a person, naming the thing. facts: what a log line or a test wants to find without
    parsing the sentence (pod, container, device, path, stderr, ...).
    """

    def __init__(self, kind: Kind, message: str, **facts: object) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.facts = facts

    def __str__(self) -> str:
        return self.message
