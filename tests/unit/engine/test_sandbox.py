"""A pod's files and the plan of its namespaces; what needs root is in the node tests."""

from pathlib import Path
from typing import Any

import pytest

from crishim.engine.sandbox import (
    Sandboxes,
    first_host_id,
    hosts_text,
    resolv_conf,
    set_sysctl,
    user_mappings,
    uses_user_namespace,
)
from crishim.errors import CrishimError, Kind
from crishim.model import OwnerRange
from crishim.pb import cri_pb2 as cri


def config(**options: Any) -> cri.PodSandboxConfig:
    made = cri.PodSandboxConfig()
    made.linux.security_context.namespace_options.CopyFrom(cri.NamespaceOption(**options))
    return made


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({"pid": cri.CONTAINER}, {"net", "uts", "ipc"}),
        ({}, {"net", "uts", "ipc", "pid"}),
        ({"network": cri.NODE, "pid": cri.CONTAINER}, {"ipc"}),
        ({"network": cri.NODE, "ipc": cri.NODE, "pid": cri.NODE}, set()),
        ({"ipc": cri.NODE, "pid": cri.NODE}, {"net", "uts"}),
    ],
)
def test_the_plan(options: dict[str, int], kinds: set[str]) -> None:
    """Which namespaces a pod gets of its own, and where their handles will be."""
    plan = Sandboxes(Path("/run/x"), {}, "/c").plan("p1", config(**options))
    found = {kind: getattr(plan, kind) for kind in ("net", "uts", "ipc", "user", "pid")}
    assert {kind for kind, path in found.items() if path} == kinds
    assert all(path in ("", f"/run/x/pods/p1/ns/{kind}") for kind, path in found.items())


def test_cgroups() -> None:
    """The client's, or one of ours for each pod."""
    sandboxes = Sandboxes(Path("/run/x"), {}, "/crishim")
    assert sandboxes.cgroup("p1", cri.PodSandboxConfig()) == "/crishim/p1"
    of_systemd = Sandboxes(Path("/run/x"), {}, "/crishim.slice")
    assert of_systemd.cgroup("p1", cri.PodSandboxConfig()) == "/crishim.slice/crishim-p1.slice"
    theirs = cri.PodSandboxConfig(linux=cri.LinuxPodSandboxConfig(cgroup_parent="/kubepods/podx"))
    assert sandboxes.cgroup("p1", theirs) == "/kubepods/podx"


KUBELETS = [
    "/kubepods/besteffort/pod1",
    "/kubepods/pod1",
    "/my/root/kubepods/burstable/pod1",
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice",
    "/kubepods.slice/kubepods-pod1_2.slice",
    "/my.slice/my-kubepods.slice/my-kubepods-pod1.slice",
    "kubepods-pod1.slice",
]


@pytest.mark.parametrize("parent", ["", "/crishim", "/crishim/x", "/test.slice", "/test.slice/a", *KUBELETS])
def test_cgroups_that_pods_belong_in(parent: str) -> None:
    """A kubelet's, the setting's, and those of pods.cgroup_roots."""
    sandboxes = Sandboxes(Path("/run/x"), {}, "/crishim", ["/test.slice"])
    sandboxes.check_cgroup(cri.PodSandboxConfig(linux=cri.LinuxPodSandboxConfig(cgroup_parent=parent)))


@pytest.mark.parametrize(
    "parent",
    [
        "/system.slice",
        "/system.slice/sshd.service",
        "/kubepods",
        "/kubepods.slice",
        "kubepods.slice",
        "/crishimx",
        "/x",
    ],
)
def test_cgroups_that_pods_do_not_belong_in(parent: str) -> None:
    """INVALID names the settings; with "/" as a root any is allowed."""
    config = cri.PodSandboxConfig(linux=cri.LinuxPodSandboxConfig(cgroup_parent=parent))
    with pytest.raises(CrishimError, match=r"pods\.cgroup_roots") as caught:
        Sandboxes(Path("/run/x"), {}, "/crishim", ["/test.slice"]).check_cgroup(config)
    assert caught.value.kind is Kind.INVALID
    if parent.startswith("/"):
        Sandboxes(Path("/run/x"), {}, "/crishim", ["/"]).check_cgroup(config)


def test_user_namespaces() -> None:
    """Mode POD asks for one; the mappings come as ranges, and whose 0 is whose."""
    mapping = [cri.IDMapping(container_id=0, host_id=100000, length=65536)]
    wanted = config(userns_options=cri.UserNamespace(mode=cri.POD, uids=mapping, gids=mapping))
    assert uses_user_namespace(wanted)
    ranges = (OwnerRange(container=0, host=100000, length=65536),)
    assert user_mappings(wanted) == (ranges, ranges)
    assert first_host_id(wanted) == (100000, 100000)
    for none in (config(), config(userns_options=cri.UserNamespace(mode=cri.NODE))):
        assert not uses_user_namespace(none)
        assert user_mappings(none) == ((), ())
        assert first_host_id(none) == (0, 0)


@pytest.mark.parametrize(
    ("dns", "text"),
    [
        (cri.DNSConfig(), ""),
        (cri.DNSConfig(servers=["10.0.0.10", "fd00::10"]), "nameserver 10.0.0.10\nnameserver fd00::10\n"),
        (cri.DNSConfig(searches=["a.b", "b"], options=["ndots:5"]), "search a.b b\noptions ndots:5\n"),
    ],
)
def test_resolv_conf(dns: cri.DNSConfig, text: str) -> None:
    """One line a server, one for all domains, one for all options."""
    assert resolv_conf(dns) == text


def test_hosts() -> None:
    """The loopback names and the pod's at each of its addresses."""
    lines = hosts_text("web-0", ("10.0.0.2", "fd00::2")).splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[1].startswith("::1\tlocalhost")
    assert lines[2:] == ["10.0.0.2\tweb-0", "fd00::2\tweb-0"]


@pytest.mark.parametrize("name", ["net.no.such", "../../etc/hostname", "net/../../../etc/hostname"])
def test_sysctls_that_are_none(name: str) -> None:
    """INVALID names the sysctl; nothing outside of /proc/sys is written."""
    with pytest.raises(CrishimError) as caught:
        set_sysctl(name, "1")
    assert caught.value.kind is Kind.INVALID
    assert name in caught.value.message


def test_nothing_known_of_a_new_node(tmp_path: Path) -> None:
    """No directory yet, no pods."""
    sandboxes = Sandboxes(tmp_path, {}, "/c")
    assert sandboxes.known() == set()
    (tmp_path / "pods/p1").mkdir(parents=True)
    assert sandboxes.known() == {"p1"}
