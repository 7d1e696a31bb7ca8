"""crishim/nri/adjustments.py: the fields that follow a rule of their own, and answers that are refused."""

import pytest

from crishim.errors import CrishimError, Kind
from crishim.pb import nri_pb2 as nri
from crishim.pb.nri import fields_pb2 as fields
from tests.unit.nri.test_adjustments import collect

A = nri.ContainerAdjustment
Linux = nri.LinuxContainerAdjustment


def text(value: str) -> nri.OptionalString:
    return nri.OptionalString(value=value)


def test_args_are_taken_over_by_an_empty_first_element() -> None:
    with pytest.raises(CrishimError, match=r'"01-plugin" and "00-plugin" both tried to set Args$'):
        collect(A(args=["sleep", "1"]), A(args=["sh"]))
    made = collect(A(args=["sleep", "1"]), A(args=["", "sh", ""]))
    assert list(made.merged.args) == ["sh", ""]
    assert made.owners.message().simple[fields.Args] == "01-plugin"
    with pytest.raises(CrishimError, match="adjustment args is an empty command"):
        collect(A(args=[""]))


def test_hooks_of_all_plugins_are_kept_in_order() -> None:
    answers = [A(hooks=nri.Hooks(poststop=[nri.Hook(path=path)])) for path in ("/a", "/b")]
    made = collect(*answers, A(hooks=nri.Hooks()))
    assert [h.path for h in made.merged.hooks.poststop] == ["/a", "/b"]
    assert made.owners.message().simple[fields.OciHooks] == "00-plugin,01-plugin"


def test_rules_of_devices_are_added_up() -> None:
    rule = nri.LinuxDeviceCgroup(allow=True, type="c", access="rw")
    answer = A(linux=Linux(resources=nri.LinuxResources(devices=[rule])))
    assert list(collect(answer, answer).merged.linux.resources.devices) == [rule, rule]


def test_rdt_is_removed_before_it_is_set() -> None:
    """The mark stays, so that what the container had from elsewhere goes too; the class is the remover's now."""
    first = A(linux=Linux(rdt=nri.LinuxRdt(clos_id=text("a"), enable_monitoring=nri.OptionalBool(value=True))))
    second = A(linux=Linux(rdt=nri.LinuxRdt(clos_id=text("b"), remove=True)))
    made = collect(first, second)
    assert made.merged.linux.rdt == nri.LinuxRdt(clos_id=text("b"), remove=True)
    assert made.owners.message().simple[fields.RdtClosID] == "01-plugin"
    with pytest.raises(CrishimError, match='"02-plugin" and "01-plugin" both tried to set RdtClosID'):
        collect(first, second, first)


def test_net_devices_follow_the_host_name() -> None:
    def answer(**devices: str) -> nri.ContainerAdjustment:
        return A(linux=Linux(net_devices={k: nri.LinuxNetDevice(name=v) for k, v in devices.items()}))

    with pytest.raises(CrishimError, match="both tried to set LinuxNetDevices eth9"):
        collect(answer(eth9="net1"), answer(eth9="net2"))
    mark = A(linux=Linux(net_devices={"-eth9": nri.LinuxNetDevice()}))
    assert dict(collect(answer(eth9="net1", eth8=""), mark).merged.linux.net_devices) == {
        "-eth9": nri.LinuxNetDevice(),
        "eth8": nri.LinuxNetDevice(),
    }


def test_what_cannot_be_removed_has_no_marks() -> None:
    """A leading "-" is part of the name there."""
    answer = A(rlimits=[nri.POSIXRlimit(type="-X")], CDI_devices=[nri.CDIDevice(name="-X")])
    assert collect(answer).merged == answer


@pytest.mark.parametrize(
    "answer",
    [
        A(env=[nri.KeyValue(value="x")]),
        A(env=[nri.KeyValue(key="-")]),
        A(mounts=[nri.Mount(source="/x")]),
        A(annotations={"": "x"}),
        A(linux=Linux(sysctl={"-": ""})),
        A(rlimits=[nri.POSIXRlimit(hard=1)]),
    ],
)
def test_an_empty_key_is_refused(answer: nri.ContainerAdjustment) -> None:
    with pytest.raises(CrishimError, match=r"NRI plugin 00-plugin: adjustment [a-z.]+ has an entry with an empty key"):
        collect(answer)


def test_values_of_nothing_are_values() -> None:
    """0, false and "" are asked for where the definition tells them from absence."""
    resources = nri.LinuxResources(
        memory=nri.LinuxMemory(limit=nri.OptionalInt64(value=0)), blockio_class=text(""), pids=nri.LinuxPids()
    )
    made = collect(A(linux=Linux(resources=resources)))
    merged = made.merged.linux.resources
    assert merged.memory.HasField("limit")
    assert merged.HasField("blockio_class")
    assert merged.HasField("pids")
    assert {fields.MemLimit, fields.BlockioClass, fields.PidsLimit} <= set(made.owners.message().simple)


def test_kinds() -> None:
    with pytest.raises(CrishimError) as caught:
        collect(A(args=[""]))
    assert (caught.value.kind, caught.value.facts) == (Kind.INVALID, {"plugin": "00-plugin", "field": "args"})
