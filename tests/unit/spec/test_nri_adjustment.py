"""An NRI adjustment in config.json: each field applied, taken away by its mark, or refused by its name."""

from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.pb import nri_pb2 as nri
from crishim.spec.build import build
from crishim.spec.inputs import Draft, Host
from crishim.spec.nri_adjustment import adjust
from crishim.spec.nri_container import describe
from crishim.spec.nri_resources import to_cri, to_oci
from tests.unit.spec.conftest import Make

V1 = Host(cgroup_version=1, controllers=frozenset({"cpu", "memory", "pids"}))


def adjusted(make: Make, adjustment: nri.ContainerAdjustment, **inputs: Any) -> dict[str, Any]:
    """The spec after it."""
    made = make(**inputs)
    draft = Draft(spec=build(made).spec)
    adjust(draft, made, adjustment)
    return draft.spec


def linux(**fields: Any) -> nri.ContainerAdjustment:
    return nri.ContainerAdjustment(linux=nri.LinuxContainerAdjustment(**fields))


def test_nothing_changes_nothing(make: Make) -> None:
    made = make()
    assert adjusted(make, nri.ContainerAdjustment()) == build(made).spec


def test_environment(make: Make) -> None:
    """A variable keeps its place; a mark takes away what the container had from its start; both together replace."""
    before = [item.partition("=")[0] for item in build(make()).spec["process"]["env"]]
    env = [nri.KeyValue(key=k, value=v) for k, v in (("PATH", "/x"), ("-HOSTNAME", ""), ("NEW", "1"), ("-NEW", ""))]
    spec = adjusted(make, nri.ContainerAdjustment(env=env))
    assert [item.partition("=")[0] for item in spec["process"]["env"]] == [n for n in before if n != "HOSTNAME"] + [
        "NEW"
    ]
    assert "PATH=/x" in spec["process"]["env"]


def test_annotations_and_sysctls(make: Make) -> None:
    spec = adjusted(make, nri.ContainerAdjustment(annotations={"a": "1", "-b": "", "b": "2", "-c": ""}))
    assert (spec["annotations"]["a"], spec["annotations"]["b"], "c" in spec["annotations"]) == ("1", "2", False)
    assert adjusted(make, linux(sysctl={"net.x": "1"}))["linux"]["sysctl"]["net.x"] == "1"


def test_arguments(make: Make) -> None:
    assert adjusted(make, nri.ContainerAdjustment(args=["/bin/x", "-y"]))["process"]["args"] == ["/bin/x", "-y"]


def test_cache_allocation(make: Make) -> None:
    """Value by value; with remove, what was there goes first, and the values hold."""
    made = make()
    draft = Draft(spec=build(made).spec)
    one = nri.LinuxRdt(clos_id=nri.OptionalString(value="a"), enable_monitoring=nri.OptionalBool(value=True))
    for rdt, left in (
        (one, {"closID": "a", "enableMonitoring": True}),
        (nri.LinuxRdt(clos_id=nri.OptionalString(value="b")), {"closID": "b", "enableMonitoring": True}),
        (nri.LinuxRdt(remove=True, clos_id=nri.OptionalString(value="c")), {"closID": "c"}),
        (nri.LinuxRdt(remove=True), None),
    ):
        adjust(draft, made, linux(rdt=rdt))
        assert draft.spec["linux"].get("intelRdt") == left


def test_a_limit_the_daemon_cannot_give(make: Make) -> None:
    """As much as it may, and a note."""
    host = Host(rlimits={"RLIMIT_NOFILE": (5, 10)}, capabilities=frozenset())
    made = make(host=host)
    draft = Draft(spec=build(made).spec)
    adjust(draft, made, nri.ContainerAdjustment(rlimits=[nri.POSIXRlimit(type="nofile", soft=15, hard=20)]))
    assert draft.spec["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 10}]
    assert "cannot go higher" in draft.notes[0]


def test_hooks_are_added(make: Make) -> None:
    hook = nri.Hook(path="/bin/h", args=["h"], env=["A=1"], timeout=nri.OptionalInt(value=3))
    spec = adjusted(make, nri.ContainerAdjustment(hooks=nri.Hooks(create_runtime=[hook], poststop=[hook])))
    wanted = [{"path": "/bin/h", "args": ["h"], "env": ["A=1"], "timeout": 3}]
    assert (spec["hooks"]["createRuntime"], spec["hooks"]["poststop"]) == (wanted, wanted)


def test_devices(make: Make) -> None:
    """With a rule of the device cgroup each; a mark takes one away."""
    device = nri.LinuxDevice(path="/dev/x", type="b", major=7, minor=1, uid=nri.OptionalUInt32(value=5))
    spec = adjusted(make, linux(devices=[device]))
    assert spec["linux"]["devices"][-1] == {"path": "/dev/x", "type": "b", "major": 7, "minor": 1, "uid": 5}
    rule = {"allow": True, "type": "b", "major": 7, "minor": 1, "access": "rwm"}
    assert spec["linux"]["resources"]["devices"][-1] == rule
    gone = adjusted(make, linux(devices=[device, nri.LinuxDevice(path="-/dev/x")]))
    assert "/dev/x" in [d["path"] for d in gone["linux"]["devices"]]  # removal first: the value stands


def test_mounts(make: Make) -> None:
    """Outer before inner, one a destination; relabel is no option of mount(2); propagation reaches the root."""
    mounts = [
        nri.Mount(destination="/a/b", type="bind", source="/s", options=["rbind", "rslave", "relabel"]),
        nri.Mount(destination="/a/", type="tmpfs", source="tmpfs"),
        nri.Mount(destination="-/dev/mqueue"),
    ]
    spec = adjusted(make, nri.ContainerAdjustment(mounts=mounts))
    names = [m["destination"] for m in spec["mounts"]]
    assert names.index("/a/") < names.index("/a/b")
    assert "/dev/mqueue" not in names
    assert next(m for m in spec["mounts"] if m["destination"] == "/a/b")["options"] == ["rbind", "rslave"]
    assert spec["linux"]["rootfsPropagation"] == "rslave"


def test_process_fields(make: Make) -> None:
    asked = linux(
        oom_score_adj=nri.OptionalInt(value=77),
        io_priority=nri.LinuxIOPriority(priority=3, **{"class": nri.IOPRIO_CLASS_BE}),
        scheduler=nri.LinuxScheduler(policy=nri.SCHED_BATCH, nice=5, flags=[nri.SCHED_FLAG_RESET_ON_FORK]),
    )
    asked.rlimits.append(nri.POSIXRlimit(type="nofile", soft=10, hard=20))
    process = adjusted(make, asked)["process"]
    assert (process["oomScoreAdj"], process["ioPriority"]) == (77, {"class": "IOPRIO_CLASS_BE", "priority": 3})
    assert process["scheduler"] == {"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    assert {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20} in process["rlimits"]


def test_seccomp_is_replaced(make: Make) -> None:
    call = nri.LinuxSyscall(names=["bpf"], action="SCMP_ACT_ERRNO", errno_ret=nri.OptionalUInt32(value=1))
    call.args.add(index=0, value=5, op="SCMP_CMP_EQ")
    policy = nri.LinuxSeccomp(default_action="SCMP_ACT_ALLOW", syscalls=[call], architectures=["SCMP_ARCH_X86_64"])
    assert adjusted(make, linux(seccomp_policy=policy))["linux"]["seccomp"] == {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            {
                "names": ["bpf"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 1,
                "args": [{"index": 0, "value": 5, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
            }
        ],
    }


def test_namespaces(make: Make) -> None:
    spec = adjusted(
        make, linux(namespaces=[nri.LinuxNamespace(type="-cgroup"), nri.LinuxNamespace(type="ipc", path="/i")])
    )
    assert {"type": "ipc", "path": "/i"} in spec["linux"]["namespaces"]
    assert "cgroup" not in [n["type"] for n in spec["linux"]["namespaces"]]


def test_resources(make: Make) -> None:
    """A memory limit is one for swap too; huge pages by size; rules are added."""
    asked = nri.LinuxResources(
        memory=nri.LinuxMemory(limit=nri.OptionalInt64(value=1 << 20)),
        cpu=nri.LinuxCPU(shares=nri.OptionalUInt64(value=5), cpus="0"),
        pids=nri.LinuxPids(limit=9),
        devices=[nri.LinuxDeviceCgroup(allow=True, type="c", major=nri.OptionalInt64(value=1), access="r")],
    )
    oci = adjusted(make, linux(resources=asked), host=V1)["linux"]["resources"]
    assert (oci["memory"]["limit"], oci["memory"]["swap"]) == (1 << 20, 1 << 20)
    assert (oci["cpu"]["shares"], oci["cpu"]["cpus"], oci["pids"]["limit"]) == (5, "0", 9)
    assert oci["devices"][-1] == {"allow": True, "type": "c", "access": "r", "major": 1}


REFUSED = {
    "linux.cgroups_path": linux(cgroups_path="/other"),
    "linux.namespaces": linux(namespaces=[nri.LinuxNamespace(type="network", path="/n")]),
    "linux.memory_policy": linux(memory_policy=nri.LinuxMemoryPolicy(mode=nri.MPOL_BIND, nodes="0")),
    "blockio_class": linux(resources=nri.LinuxResources(blockio_class=nri.OptionalString(value="fast"))),
    "rdt_class": linux(resources=nri.LinuxResources(rdt_class=nri.OptionalString(value="gold"))),
    "unified": linux(resources=nri.LinuxResources(unified={"memory.high": "1"})),
    "hugepage_limits": linux(
        resources=nri.LinuxResources(hugepage_limits=[nri.HugepageLimit(page_size="2MB", limit=1)])
    ),
    "/proc": nri.ContainerAdjustment(mounts=[nri.Mount(destination="/proc/self/x", source="/s", options=["bind"])]),
    "absolute": nri.ContainerAdjustment(mounts=[nri.Mount(destination="relative", source="/s")]),
    "soft limit": nri.ContainerAdjustment(rlimits=[nri.POSIXRlimit(type="nofile", soft=3, hard=2)]),
    "hooks.prestart": nri.ContainerAdjustment(hooks=nri.Hooks(prestart=[nri.Hook(path="bin/h")])),
}


@pytest.mark.parametrize("named", REFUSED)
def test_what_cannot_be(make: Make, named: str) -> None:
    """One sentence that names the field."""
    with pytest.raises(CrishimError, match=named) as raised:
        adjusted(make, REFUSED[named], host=V1)
    assert raised.value.kind in (Kind.PRECONDITION, Kind.INVALID)


def test_what_plugins_see_is_what_they_can_set(make: Make) -> None:
    """A container's description, given back as an adjustment, changes nothing of it."""
    made = make(host=V1)
    spec = build(made).spec
    seen = describe(spec)
    again = nri.ContainerAdjustment(
        mounts=seen.mounts, args=seen.args, rlimits=seen.rlimits, annotations=seen.annotations
    )
    again.env.extend(nri.KeyValue(key=k, value=v) for k, _, v in (item.partition("=") for item in seen.env))
    again.linux.sysctl.update(seen.linux.sysctl)
    if seen.linux.HasField("seccomp_policy"):
        again.linux.seccomp_policy.CopyFrom(seen.linux.seccomp_policy)
    draft = Draft(spec=build(made).spec)
    adjust(draft, made, again)
    assert describe(draft.spec) == seen


def test_huge_pages_without_their_controller() -> None:
    """A limit is refused; a kubelet's 0 for a size that no pod has is left out."""
    none = nri.LinuxResources(hugepage_limits=[nri.HugepageLimit(page_size="2MB", limit=0)])
    assert to_oci(none, V1) == {}
    none.hugepage_limits[0].limit = 2 << 20
    with pytest.raises(CrishimError, match=r"linux\.resources\.hugepage_limits"):
        to_oci(none, V1)


def test_swap_where_the_kernel_does_not_count_it() -> None:
    """As a request's own: one that is the memory limit, or none, says nothing; another is refused."""
    host = Host(swap=False)
    memory = nri.LinuxMemory(limit=nri.OptionalInt64(value=9), swap=nri.OptionalInt64(value=9))
    assert to_oci(nri.LinuxResources(memory=memory), host) == {"memory": {"limit": 9}}
    memory.swap.value = 10
    with pytest.raises(CrishimError, match=r"linux\.resources\.memory\.swap"):
        to_oci(nri.LinuxResources(memory=memory), host)
    assert to_oci(nri.LinuxResources(memory=memory), Host())["memory"] == {"limit": 9, "swap": 10}


@pytest.mark.parametrize("field", ["shares", "period"])
def test_a_number_that_cri_cannot_hold(field: str) -> None:
    """NRI's are unsigned. It is an error that names the field, and no ValueError of a message."""
    cpu = nri.LinuxCPU()
    getattr(cpu, field).value = 1 << 63
    for convert in (to_cri, lambda asked: to_oci(asked, V1)):
        with pytest.raises(CrishimError, match=rf"linux\.resources\.cpu\.{field}"):
            convert(nri.LinuxResources(cpu=cpu))
