"""crishim/nri/answer_checks.py"""

import contextlib

import pytest
from hypothesis import given

from crishim.errors import CrishimError, Kind
from crishim.nri.answer_checks import CHECKS, check
from crishim.pb import nri_pb2 as nri
from tests.unit.nri.messages import env, messages

A = nri.ContainerAdjustment
L = nri.LinuxContainerAdjustment
Device = nri.LinuxDevice
TIMEOUT = nri.Hook(path="/x", timeout=nri.OptionalInt())
UNKNOWN = bytes((8, 1))  # field 1, a number
BAD = {
    "field 1 of ContainerAdjustment is not known to this version": A.FromString(UNKNOWN),
    "field 5 of LinuxRdt is not known to this version": A(linux=L(rdt=nri.LinuxRdt.FromString(b"\x28\x01"))),
    "env has the name": env(**{"A=B": "c"}),
    "KeyValue.value has a zero byte": env(A="x\0"),
    "ContainerAdjustment.args has a zero byte": A(args=["sh", "\0"]),
    'mounts has the destination "etc"': A(mounts=[nri.Mount(destination="etc")]),
    'linux.devices has the path "null"': A(linux=L(devices=[Device(path="null", type="c")])),
    'linux.devices has the type ""': A(linux=L(devices=[Device(path="/dev/x")])),
    'hooks.poststop has the path "x"': A(hooks=nri.Hooks(poststop=[nri.Hook(path="x")])),
    "hooks.prestart has a timeout of 0 seconds": A(hooks=nri.Hooks(prestart=[TIMEOUT])),
    'linux.namespaces has the type "net"': A(linux=L(namespaces=[nri.LinuxNamespace(type="net")])),
    'rlimits has the type "NOFILE"': A(rlimits=[nri.POSIXRlimit(type="NOFILE")]),
    "rlimits has a soft limit above": A(rlimits=[nri.POSIXRlimit(type="RLIMIT_CPU", soft=2, hard=1)]),
    "linux.oom_score_adj is 1001": A(linux=L(oom_score_adj=nri.OptionalInt(value=1001))),
    "linux.io_priority is 8": A(linux=L(io_priority=nri.LinuxIOPriority(priority=8))),
    "linux.scheduler.nice is 20": A(linux=L(scheduler=nri.LinuxScheduler(nice=20))),
    "LinuxScheduler.policy has no value 99": A(linux=L(scheduler=nri.LinuxScheduler.FromString(bytes((8, 99))))),
    "linux.resources.unified names": A(linux=L(resources=nri.LinuxResources(unified={"../x.y": "1"}))),
    "linux.net_devices names eth9": A(linux=L(net_devices={"eth9": nri.LinuxNetDevice(name="a/b")})),
}


@pytest.mark.parametrize("sentence", BAD)
def test_nonsense_is_refused_by_plugin_and_field(sentence: str) -> None:
    with pytest.raises(CrishimError) as caught:
        check("10-x", BAD[sentence])
    assert str(caught.value).startswith(f"NRI plugin 10-x: adjustment {sentence}")
    assert caught.value.kind == Kind.INVALID


def test_every_check_is_shown_by_an_example() -> None:
    """One that finds nothing in any of them is not tested."""
    for each in CHECKS:
        assert any(list(each(answer)) for answer in BAD.values()), each.__name__


def test_marks_are_no_values() -> None:
    """A removal names its key, and nothing else of it counts."""
    linux = L(
        devices=[Device(path="-/dev/x")],
        namespaces=[nri.LinuxNamespace(type="-network")],
        net_devices={"-eth9": nri.LinuxNetDevice()},
    )
    check("10-x", A(mounts=[nri.Mount(destination="-/etc")], linux=linux, env=env(_A="").env))


@given(messages(nri.ContainerAdjustment))
def test_any_answer_is_taken_or_refused(adjustment: nri.ContainerAdjustment) -> None:
    with contextlib.suppress(CrishimError):
        check("10-x", adjustment)
