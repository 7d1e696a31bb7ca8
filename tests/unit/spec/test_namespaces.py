from typing import Any

import pytest

from crishim import model
from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec import namespaces
from crishim.spec.inputs import Host

from .conftest import Apply, Make

PINS = model.NamespacePaths(net="/n/net", ipc="/n/ipc", uts="/n/uts", pid="/n/pid", user="/n/user")
NODE = model.NamespacePaths()
V1 = Host(cgroup_version=1)
RUNC_1_2 = {"linux": {"mountExtensions": {"idmap": {"enabled": True}}}}


def asking(**modes: Any) -> cri.ContainerConfig:
    config = cri.ContainerConfig()
    config.linux.security_context.namespace_options.CopyFrom(cri.NamespaceOption(**modes))
    return config


def found(make: Make, apply: Apply, config: cri.ContainerConfig | None = None, **more: Any) -> dict[str, str]:
    inputs = make(config=config or cri.ContainerConfig(), **({"host": V1} | more))
    spec = apply(namespaces.namespaces, inputs).spec
    return {n["type"]: n.get("path", "") for n in spec["linux"]["namespaces"]}


def test_pod_mode_joins_the_pins(make: Make, apply: Apply) -> None:
    """POD is the default of all: every namespace of the pod by path, a mount namespace of its own."""
    expected = {"mount": "", "network": "/n/net", "ipc": "/n/ipc", "uts": "/n/uts", "pid": "/n/pid", "user": "/n/user"}
    assert found(make, apply, namespaces=PINS) == expected


def test_node_mode_has_no_entry(make: Make, apply: Apply) -> None:
    """A namespace that is not in the list is the node's."""
    config = asking(network=cri.NODE, ipc=cri.NODE, pid=cri.NODE)
    assert found(make, apply, config, namespaces=NODE) == {"mount": ""}


def test_container_mode_is_a_new_namespace(make: Make, apply: Apply) -> None:
    """PID and IPC can be the container's own."""
    names = found(make, apply, asking(pid=cri.CONTAINER, ipc=cri.CONTAINER), namespaces=PINS)
    assert (names["pid"], names["ipc"], names["network"]) == ("", "", "/n/net")


def test_target_mode_joins_a_process(make: Make, apply: Apply) -> None:
    """TARGET: the PID namespace of a running container of the pod; PRECONDITION if it does not run."""
    config = asking(pid=cri.TARGET, target_id="abc")
    assert found(make, apply, config, target="/proc/42/fd/7")["pid"] == "/proc/42/fd/7"
    with pytest.raises(CrishimError, match="'abc'") as caught:
        found(make, apply, config)
    assert caught.value.kind is Kind.PRECONDITION


@pytest.mark.parametrize(
    "config",
    [asking(network=cri.NODE), asking(network=cri.CONTAINER), asking(network=cri.TARGET),
     asking(ipc=cri.NODE), asking(ipc=cri.TARGET)],
)  # fmt: skip
def test_modes_that_contradict_the_pod(make: Make, apply: Apply, config: cri.ContainerConfig) -> None:
    """A container cannot leave its pod's network, nor the pod's IPC for the node's: INVALID."""
    with pytest.raises(CrishimError) as caught:
        found(make, apply, config, namespaces=PINS)
    assert caught.value.kind is Kind.INVALID


def test_a_request_without_options_means_its_pods(make: Make, apply: Apply) -> None:
    """The proto default POD only counts in a message that is there."""
    pod = cri.PodSandboxConfig()
    pod.linux.security_context.namespace_options.pid = cri.CONTAINER
    assert found(make, apply, pod=pod, namespaces=NODE)["pid"] == ""


@pytest.mark.fact("PID mode")
def test_pod_pid_mode_needs_a_live_pod_namespace(make: Make, apply: Apply) -> None:
    """A pod made without a shared PID namespace has none to join; with the node's, POD means the node's."""
    pod = cri.PodSandboxConfig()
    pod.linux.security_context.namespace_options.pid = cri.CONTAINER
    with pytest.raises(CrishimError) as caught:
        apply(namespaces.pod_shares_pids, make(config=asking(), pod=pod, namespaces=NODE))
    assert caught.value.kind is Kind.PRECONDITION
    pod.linux.security_context.namespace_options.pid = cri.NODE
    apply(namespaces.pod_shares_pids, make(config=asking(), pod=pod, namespaces=NODE))
    apply(namespaces.pod_shares_pids, make(config=asking(), namespaces=PINS))


def test_cgroup_namespace_on_v2_only_and_not_for_privileged(make: Make, apply: Apply) -> None:
    """As the peers have it; in a user namespace cgroup2 could not be mounted without one."""
    v2 = Host(cgroup_version=2)
    privileged = cri.ContainerConfig()
    privileged.linux.security_context.privileged = True
    assert "cgroup" in found(make, apply, host=v2)
    assert "cgroup" not in found(make, apply, host=V1)
    assert "cgroup" not in found(make, apply, privileged, host=v2)
    assert "cgroup" in found(make, apply, privileged, host=v2, namespaces=PINS)


def mapped_pod() -> cri.PodSandboxConfig:
    pod = cri.PodSandboxConfig()
    users = pod.linux.security_context.namespace_options.userns_options
    users.uids.add(host_id=1000, container_id=0, length=65536)
    users.gids.add(host_id=2000, container_id=0, length=65536)
    return pod


def test_mappings_only_for_a_runtime_that_wants_them(make: Make, apply: Apply) -> None:
    """A joined user namespace has its mappings: runc from 1.2 on warns of them, runc 1.1 fails without them."""
    old = apply(namespaces.user_mappings, make(pod=mapped_pod(), namespaces=PINS)).spec["linux"]
    assert old["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 65536}]
    assert old["gidMappings"] == [{"containerID": 0, "hostID": 2000, "size": 65536}]
    new = apply(namespaces.user_mappings, make(pod=mapped_pod(), namespaces=PINS, features=RUNC_1_2)).spec["linux"]
    assert "uidMappings" not in new
    none = apply(namespaces.user_mappings, make(pod=mapped_pod(), namespaces=NODE)).spec["linux"]
    assert "uidMappings" not in none
