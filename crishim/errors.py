"""The one exception of this project: a kind, one sentence that names the thing, and facts.

It is logged once, by the gRPC server (cri/server.py), and mapped to a gRPC code by the table in cri/errors.py. This
module does not import grpc.
"""

from enum import StrEnum


class Kind(StrEnum):
    """What went wrong, by what the caller can do about it."""

    INVALID = "invalid"  # the request can never work as it is written
    NOT_FOUND = "not found"
    EXISTS = "exists"  # a name or id is taken
    PRECONDITION = "precondition"  # the state of the node or the pod forbids it now
    ABORTED = "aborted"  # another operation holds the thing, or the work was cancelled
    DENIED = "denied"  # policy or credentials
    EXHAUSTED = "exhausted"  # disk, addresses, memory
    DEADLINE = "deadline"
    UNAVAILABLE = "unavailable"  # try again later: starting, or a peer that does not answer
    UNIMPLEMENTED = "unimplemented"
    INTERNAL = "internal"
    UNKNOWN = "unknown"  # the kubelet reads some texts only under gRPC's UNKNOWN: see crishim/cri/errors.py


class CrishimError(Exception):
    """An error with a kind and facts.

    message: one sentence for a person, naming the thing. facts: values for log lines and tests, which need not parse
    the sentence then (pod, container, device, path, stderr, ...).
    """

    def __init__(self, kind: Kind, message: str, **facts: object) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.facts = facts

    def __str__(self) -> str:
        return self.message
