"""crishim/nri/adjusted.py"""

from hypothesis import given

from crishim.nri.adjusted import adjusted
from crishim.nri.adjustments import HOOKS, Adjustments
from crishim.pb import nri_pb2 as nri
from tests.unit.nri.messages import env, messages
from tests.unit.nri.test_adjustments import collect, unique


@given(messages(nri.ContainerAdjustment))
def test_the_next_plugin_sees_what_was_set(adjustment: nri.ContainerAdjustment) -> None:
    """An empty container shows just the adjustment, in the same shapes."""
    merged = collect(unique(adjustment)).merged
    seen = adjusted(nri.Container(id="c"), merged)
    assert {(m.destination, m.source) for m in seen.mounts} == {(m.destination, m.source) for m in merged.mounts}
    assert list(seen.env) == [f"{e.key}={e.value}" for e in merged.env]
    assert seen.annotations == merged.annotations
    assert list(seen.args) == list(merged.args)
    assert list(seen.rlimits) == list(merged.rlimits)
    for name in HOOKS:
        assert getattr(seen.hooks, name) == getattr(merged.hooks, name)
    for name in ("devices", "namespaces", "resources", "oom_score_adj", "cgroups_path", "io_priority"):
        assert getattr(seen.linux, name) == getattr(merged.linux, name), name
    for name in ("seccomp_policy", "sysctl", "net_devices", "scheduler"):
        assert getattr(seen.linux, name) == getattr(merged.linux, name), name
    assert seen.linux.rdt.schemata == merged.linux.rdt.schemata


def test_the_container_itself_is_not_touched() -> None:
    container = nri.Container(env=["A=1"])
    adjusted(container, env(A="2"))
    assert list(container.env) == ["A=1"]


def test_removals_take_away_what_the_container_had() -> None:
    container = nri.Container(
        env=["A=1", "B=2", "C=3"],
        annotations={"k": "v", "l": "w"},
        mounts=[nri.Mount(destination="/a"), nri.Mount(destination="/b")],
        linux=nri.LinuxContainer(sysctl={"net.x": "1"}, devices=[nri.LinuxDevice(path="/dev/x")]),
    )
    made = Adjustments()
    linux = nri.LinuxContainerAdjustment(sysctl={"-net.x": ""}, devices=[nri.LinuxDevice(path="-/dev/x")])
    answer = nri.ContainerAdjustment(
        annotations={"-k": ""}, mounts=[nri.Mount(destination="-/a")], linux=linux, env=env(_B="", A="9", D="4").env
    )
    made.collect("00-a", answer)
    seen = adjusted(container, made.merged)
    assert list(seen.env) == ["A=9", "C=3", "D=4"]
    assert dict(seen.annotations) == {"l": "w"}
    assert [m.destination for m in seen.mounts] == ["/b"]
    assert not seen.linux.sysctl
    assert not seen.linux.devices


def test_rdt_goes_as_a_whole() -> None:
    had = nri.LinuxRdt(clos_id=nri.OptionalString(value="a"), enable_monitoring=nri.OptionalBool(value=True))
    rdt = nri.LinuxRdt(remove=True, clos_id=nri.OptionalString(value="b"))
    adjustment = nri.ContainerAdjustment(linux=nri.LinuxContainerAdjustment(rdt=rdt))
    seen = adjusted(nri.Container(linux=nri.LinuxContainer(rdt=had)), adjustment)
    assert seen.linux.rdt == nri.LinuxRdt(clos_id=nri.OptionalString(value="b"))
