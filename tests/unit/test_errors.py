"""Errors, and the one table that turns them into gRPC codes."""

import grpc

from crishim.cri.errors import CODES
from crishim.errors import CrishimError, Kind


def test_an_error_is_its_sentence() -> None:
    """str() is the message alone; kind and facts are beside it."""
    error = CrishimError(Kind.NOT_FOUND, "pod sandbox 'x' does not exist", pod="x")
    assert str(error) == "pod sandbox 'x' does not exist"
    assert (error.kind, error.facts) == (Kind.NOT_FOUND, {"pod": "x"})


def test_every_kind_has_a_code_of_its_own() -> None:
    """The table knows each kind, and gives none of them OK."""
    assert set(CODES) == set(Kind)
    assert len(set(CODES.values())) == len(Kind)
    assert grpc.StatusCode.OK not in CODES.values()


def test_the_kubelets_codes() -> None:
    """Those the kubelet acts on."""
    assert CODES[Kind.NOT_FOUND] is grpc.StatusCode.NOT_FOUND
    assert CODES[Kind.UNIMPLEMENTED] is grpc.StatusCode.UNIMPLEMENTED
    assert CODES[Kind.UNKNOWN] is grpc.StatusCode.UNKNOWN
    assert CODES[Kind.DEADLINE] is grpc.StatusCode.DEADLINE_EXCEEDED
