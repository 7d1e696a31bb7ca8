import json

from crishim import model
from crishim.pb import cri_pb2 as cri
from crishim.spec import build, bundle
from crishim.spec.inputs import Host

from .conftest import Make


def test_a_plain_container_has_every_section(make: Make) -> None:
    """Nothing but a command asked for: process, root, mounts and namespaces are complete."""
    built = build.build(make())
    spec = json.loads(built.encode())
    assert spec["process"]["args"] == ["/bin/true"]
    assert spec["process"]["cwd"] == "/"
    assert spec["process"]["user"]["uid"] == 0
    assert spec["root"]["path"]
    assert "seccomp" not in spec["linux"]
    assert spec["linux"]["maskedPaths"]
    assert spec["linux"]["cgroupsPath"] == "/pod/c1"
    assert {m["destination"] for m in spec["mounts"]} >= {"/proc", "/dev", "/dev/pts", "/dev/shm", "/sys"}
    assert built.user == model.User(uid=0, gid=0, groups=(0, 10))
    assert built.notes == ()


def test_two_specs_share_nothing(make: Make) -> None:
    """The base is decoded for each: a change to one spec never shows in the next."""
    first = build.build(make()).spec
    before = json.dumps(first)
    second = build.build(make()).spec
    second["linux"]["maskedPaths"].append("/x")
    second["mounts"][0]["options"].append("x")
    second["process"]["capabilities"]["bounding"].clear()
    assert json.dumps(first) == before
    assert json.dumps(build.build(make()).spec) == before


def test_the_request_is_not_changed(make: Make) -> None:
    """The config round-trips unaltered: building reads it only."""
    config = cri.ContainerConfig(command=["/bin/true"])
    before = config.SerializeToString()
    build.build(make(config=config))
    assert config.SerializeToString() == before


def test_notes_are_collected(make: Make) -> None:
    """What was bounded comes out for the log."""
    config = cri.ContainerConfig(command=["/bin/true"])
    config.linux.resources.oom_score_adj = -500
    built = build.build(make(config=config, host=Host(oom_floor=0, capabilities=frozenset({"CAP_CHOWN"}))))
    assert len(built.notes) == 2


def test_the_bundle_files_are_found_and_are_json() -> None:
    """bundles/ beside the package in a checkout, inside it when installed."""
    assert bundle.directory().joinpath("README.md").is_file()
    for name in ("base.json", "seccomp.json"):
        assert json.loads(bundle.read(name))


def test_the_host_can_be_asked() -> None:
    """Host.probe() finds plausible facts here, and takes what is known already."""
    host = Host.probe(machine="riscv64")
    assert host.machine == "riscv64"
    assert host.cgroup_version in (1, 2)
    assert "memory" in host.controllers
    assert -1000 <= host.oom_floor <= 1000
    assert host.kernel >= (5, 0)
    assert host.rlimits["RLIMIT_NOFILE"][1] >= host.rlimits["RLIMIT_NOFILE"][0] > 0
