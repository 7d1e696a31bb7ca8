"""Pods that cannot be: a fitting code, one sentence that names the thing, nothing left."""

from collections.abc import Callable

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.refusals import refused
from tests.support.daemon import Daemon
from tests.support.pods import (
    pod_config,
    remove_pod,
    run_pod,
)

pytestmark = pytest.mark.node
Code = grpc.StatusCode


def without_metadata(c: cri.PodSandboxConfig) -> None:
    c.ClearField("metadata")


def without_name(c: cri.PodSandboxConfig) -> None:
    c.metadata.name = ""


def with_sysctl(c: cri.PodSandboxConfig) -> None:
    c.linux.sysctls["net.core.nonsense"] = "1"


def with_node_sysctl(c: cri.PodSandboxConfig) -> None:
    c.linux.sysctls["vm.swappiness"] = "1"


def with_bandwidth(c: cri.PodSandboxConfig) -> None:
    c.annotations["kubernetes.io/ingress-bandwidth"] = "fast"


def with_relative_logs(c: cri.PodSandboxConfig) -> None:
    c.log_directory = "logs"


def with_port(c: cri.PodSandboxConfig) -> None:
    c.port_mappings.add(host_port=70000, container_port=1)


def with_dns_lines(c: cri.PodSandboxConfig) -> None:
    c.dns_config.servers.append("10.0.0.1\nnameserver 6.6.6.6")


def with_hostname_lines(c: cri.PodSandboxConfig) -> None:
    c.hostname = "a\n6.6.6.6 api.example"


def with_cni_args(c: cri.PodSandboxConfig) -> None:
    c.metadata.name = "a;K8S_POD_NAMESPACE=kube-system"


def in_cgroup(parent: str) -> Callable[[cri.PodSandboxConfig], None]:
    def spoil(c: cri.PodSandboxConfig) -> None:
        c.linux.cgroup_parent = parent

    return spoil


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (without_metadata, "metadata"),
        (without_name, "name"),
        (with_sysctl, "net.core.nonsense"),
        (with_node_sysctl, "vm.swappiness"),
        (with_bandwidth, "kubernetes.io/ingress-bandwidth"),
        (with_relative_logs, "log directory"),
        (with_port, "70000"),
        (with_dns_lines, "DNS server"),
        (with_hostname_lines, "hostname"),
        (with_cni_args, "usable name"),
        (in_cgroup("/"), "cgroup parent"),
        (in_cgroup("/system.slice"), "pods.cgroup_roots"),
        (in_cgroup("/kubepods/x\n"), "cgroup parent"),
    ],
)
def test_pods_that_cannot_be(daemon: Daemon, spoil: Callable[[cri.PodSandboxConfig], None], named: str) -> None:
    """A RunPodSandbox that can never work is INVALID_ARGUMENT and names what is wrong."""
    config = pod_config()
    spoil(config)
    code, text = refused(run_pod, daemon, config)
    assert code == Code.INVALID_ARGUMENT
    assert named in text


@pytest.mark.fact("RunPodSandbox")
def test_an_unknown_handler(daemon: Daemon) -> None:
    """The text names the handler and those there are."""
    code, text = refused(run_pod, daemon, handler="kata")
    assert code == Code.INVALID_ARGUMENT
    assert "'kata'" in text
    assert "crun, runc" in text


def test_a_pod_name_in_use(daemon: Daemon) -> None:
    """ALREADY_EXISTS names the pod and its holder, unless the request is the same; a new attempt is a new name."""
    config = pod_config("taken")
    pod = run_pod(daemon, config)
    other = pod_config("taken", labels={"not": "the same"})
    code, text = refused(run_pod, daemon, other)
    assert code == Code.ALREADY_EXISTS
    assert "test/taken" in text
    assert pod[:13] in text
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    assert refused(run_pod, daemon, config)[0] == Code.ALREADY_EXISTS
    second = run_pod(daemon, pod_config("taken", attempt=1))
    remove_pod(daemon, pod)
    remove_pod(daemon, run_pod(daemon, config))
    remove_pod(daemon, second)
