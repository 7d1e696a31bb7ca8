"""crishim/cri/stream/requests.py"""

import pytest

from crishim.cri.stream.requests import from_attach, from_exec, from_port_forward
from crishim.errors import CrishimError, Kind
from crishim.model import ExecSpec
from crishim.pb import cri_pb2 as cri


def test_an_exec_keeps_what_was_asked() -> None:
    """Command and streams arrive in the record the operations know."""
    request = cri.ExecRequest(container_id="c", cmd=["sh", "-c", ""], stdin=True, stdout=True, tty=True)
    found = from_exec(request)
    expected = ExecSpec(argv=("sh", "-c", ""), tty=True, stdin=True, stdout=True, stderr=False)
    assert (found.container_id, found.spec) == ("c", expected)


@pytest.mark.fact("Exec", "Attach", "PortForward")
@pytest.mark.parametrize(
    "request_",
    [
        cri.ExecRequest(cmd=["sh"], stdout=True),  # no container
        cri.ExecRequest(container_id="c", stdout=True),  # no command
        cri.ExecRequest(container_id="c", cmd=["sh"]),  # no stream
        cri.ExecRequest(container_id="c", cmd=["sh"], stdout=True, stderr=True, tty=True),
        cri.ExecRequest(container_id="c", cmd=["x" * (1 << 20)] * 3, stdout=True),  # longer than any command
    ],
)
def test_an_exec_that_cannot_work(request_: cri.ExecRequest) -> None:
    """One of stdin, stdout and stderr must be set, and a terminal has no stderr."""
    with pytest.raises(CrishimError) as caught:
        from_exec(request_)
    assert caught.value.kind is Kind.INVALID


@pytest.mark.fact("Exec", "Attach", "PortForward")
def test_an_attach_that_cannot_work() -> None:
    """The same rules as for exec."""
    assert from_attach(cri.AttachRequest(container_id="c", stdin=True)).options.stdin
    for request in (
        cri.AttachRequest(container_id="c"),
        cri.AttachRequest(container_id="c", tty=True, stderr=True),
        cri.AttachRequest(stdout=True),
    ):
        with pytest.raises(CrishimError):
            from_attach(request)


def test_ports_are_ports() -> None:
    """Ports may be missing (SPDY names them later), but not be out of range."""
    assert from_port_forward(cri.PortForwardRequest(pod_sandbox_id="p", port=[80, 65535])).ports == (80, 65535)
    assert from_port_forward(cri.PortForwardRequest(pod_sandbox_id="p")).ports == ()
    for request in (
        cri.PortForwardRequest(port=[80]),
        cri.PortForwardRequest(pod_sandbox_id="p", port=[0]),
        cri.PortForwardRequest(pod_sandbox_id="p", port=[65536]),
        cri.PortForwardRequest(pod_sandbox_id="p", port=[80] * 128),
    ):
        with pytest.raises(CrishimError):
            from_port_forward(request)
