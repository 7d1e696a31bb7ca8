from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec import validate

Mappings = list[dict[str, int]]

META = {"name": "p", "namespace": "n", "uid": "u"}


def pod(**fields: Any) -> cri.PodSandboxConfig:
    return cri.PodSandboxConfig(**({"metadata": META} | fields))


def pod_with(
    options: dict[str, Any] | None = None, sysctls: dict[str, str] | None = None, **context: Any
) -> cri.PodSandboxConfig:
    config = pod()
    config.linux.security_context.CopyFrom(cri.LinuxSandboxSecurityContext(**context))
    config.linux.security_context.namespace_options.CopyFrom(cri.NamespaceOption(**(options or {})))
    config.linux.sysctls.update(sysctls or {})
    return config


def users(
    mode: "cri.NamespaceMode.ValueType" = cri.POD, uids: Mappings | None = None, gids: Mappings | None = None
) -> cri.PodSandboxConfig:
    one = [{"host_id": 1000, "container_id": 0, "length": 65536}]
    mapped = {
        "uids": [cri.IDMapping(**mapping) for mapping in (one if uids is None else uids)],
        "gids": [cri.IDMapping(**mapping) for mapping in (one if gids is None else gids)],
    }
    return pod_with({"userns_options": cri.UserNamespace(mode=mode, **mapped)})


def ports(**fields: Any) -> cri.PodSandboxConfig:
    return pod(port_mappings=[{"container_port": 80} | fields])


TWO = [{"host_id": 1000, "container_id": 0, "length": 10}, {"host_id": 5000, "container_id": 10, "length": 10}]

BAD_PODS = {
    "no metadata": (cri.PodSandboxConfig(), "metadata is missing"),
    "no name": (pod(metadata=META | {"name": ""}), "no name"),
    "no namespace": (pod(metadata=META | {"namespace": ""}), "no namespace"),
    "no uid": (pod(metadata=META | {"uid": ""}), "no uid"),
    "slash in a name": (pod(metadata=META | {"name": "a/b"}), "no usable name"),
    "semicolon in a name": (pod(metadata=META | {"uid": "a;K8S_POD_NAME=b"}), "no usable uid"),
    "newline in a name": (pod(metadata=META | {"name": "a\nb"}), "no usable name"),
    "long name": (pod(metadata=META | {"name": "a" * 254}), "longer"),
    "long hostname": (pod(hostname="h" * 65), "65 bytes"),
    "hostname with a space": (pod(hostname="a b"), "no hostname"),
    "hostname with a newline": (pod(hostname="a\n"), "no hostname"),
    "relative log directory": (pod(log_directory="logs"), "absolute"),
    "host port": (ports(host_port=65536), "65536"),
    "negative host port": (ports(host_port=-1), "-1"),
    "container port": (ports(container_port=0, host_port=80), "container port 0"),
    "container port too large": (ports(container_port=70000), "70000"),
    "protocol": (ports(protocol=9), "protocol 9"),
    "host ip": (ports(host_ip="localhost"), "'localhost'"),
    "host port twice": (pod(port_mappings=[{"container_port": p, "host_port": 80} for p in (1, 2)]), "twice"),
    "network CONTAINER": (pod_with({"network": cri.CONTAINER}), "network"),
    "network TARGET": (pod_with({"network": cri.TARGET}), "network"),
    "ipc TARGET": (pod_with({"ipc": cri.TARGET}), "IPC"),
    "pid TARGET": (pod_with({"pid": cri.TARGET}), "PID"),
    "user namespace CONTAINER": (users(cri.CONTAINER), "POD or NODE"),
    "user namespace TARGET": (users(cri.TARGET), "POD or NODE"),
    "two uid mappings": (users(uids=TWO), "exactly one uid mapping"),
    "two gid mappings": (users(gids=TWO), "exactly one gid mapping"),
    "no mapping": (users(uids=[], gids=[]), "exactly one uid mapping, not 0"),
    "container id 0 unmapped": (users(uids=[{"host_id": 1, "container_id": 1, "length": 9}]), "id 0"),
    "empty mapping": (users(gids=[{"host_id": 1, "container_id": 0, "length": 0}]), "id 0"),
    "mapping too long": (users(uids=[{"host_id": 2**32 - 1, "container_id": 0, "length": 2}]), "largest id"),
    "negative user": (pod_with(run_as_user=cri.Int64Value(value=-1)), "-1"),
    "group too large": (pod_with(supplemental_groups=[2**31]), str(2**31)),
    "net sysctl on the host's network": (
        pod_with({"network": cri.NODE}, {"net.ipv4.ip_forward": "1"}),
        "host's network",
    ),
    "shm sysctl with host IPC": (pod_with({"ipc": cri.NODE}, {"kernel.shmmax": "1"}), "host's IPC"),
    "msg sysctl with host IPC": (pod_with({"ipc": cri.NODE}, {"kernel.msgmax": "1"}), "host's IPC"),
    "sem sysctl with host IPC": (pod_with({"ipc": cri.NODE}, {"kernel.sem": "1"}), "host's IPC"),
    "mqueue sysctl with host IPC": (pod_with({"ipc": cri.NODE}, {"fs.mqueue.msg_max": "1"}), "host's IPC"),
    "sysctl of the whole node": (pod_with(sysctls={"vm.swappiness": "1"}), "whole node"),
    "sysctl that climbs": (pod_with(sysctls={"net.ipv4../../kernel": "1"}), "no sysctl"),
    "cgroup parent that climbs": (pod(linux={"cgroup_parent": "/a/../../b"}), "no path of a cgroup"),
    "cgroup parent /": (pod(linux={"cgroup_parent": "/"}), "no path of a cgroup"),
    "cgroup parent with a newline": (pod(linux={"cgroup_parent": "/kubepods/x\n"}), "no path of a cgroup"),
    "cgroup parent that is relative": (pod(linux={"cgroup_parent": "kubepods/x"}), "no path of a cgroup"),
    "cgroup parent of dots": (pod(linux={"cgroup_parent": "/kubepods/./x"}), "no path of a cgroup"),
    "cgroup parent without end": (pod(linux={"cgroup_parent": "/kubepods/" + "x" * 1024}), "no path of a cgroup"),
    "hostname that begins a comment": (pod(hostname="#a"), "no hostname"),
    "hostname like an option": (pod(hostname="-a"), "no hostname"),
    "DNS server with a newline": (pod(dns_config={"servers": ["10.0.0.1\nnameserver 6.6.6.6"]}), "no DNS server"),
    "DNS domain with a space": (pod(dns_config={"searches": ["a b"]}), "no DNS search domain"),
    "empty DNS domain": (pod(dns_config={"searches": [""]}), "no DNS search domain"),
    "DNS option with a control": (pod(dns_config={"options": ["ndots:5\x1b[2J"]}), "no DNS option"),
    "DNS option without end": (pod(dns_config={"options": ["x" * 1025]}), "no DNS option"),
    "log directory with a newline": (pod(log_directory="/var/log/a\nb"), "absolute path"),
}


@pytest.mark.parametrize(("config", "words"), BAD_PODS.values(), ids=BAD_PODS)
def test_bad_pods(config: cri.PodSandboxConfig, words: str) -> None:
    """One sentence that names what is wrong; INVALID."""
    with pytest.raises(CrishimError) as caught:
        validate.check_pod(config)
    assert caught.value.kind is Kind.INVALID
    assert words in caught.value.message


GOOD_PODS = {
    "plain": pod(),
    "all namespaces of the node": pod_with({"network": cri.NODE, "pid": cri.NODE, "ipc": cri.NODE}),
    "user namespace": users(),
    "host users": users(cri.NODE, [], []),
    "run_as_group without run_as_user": pod_with(run_as_group=cri.Int64Value(value=5)),
    "safe sysctls": pod_with(sysctls={"net.ipv4.ip_forward": "1", "net/core/somaxconn": "1", "kernel.sem": "1"}),
    "no host port": ports(host_port=0),
    "ipv6 host address": ports(host_port=80, host_ip="::1"),
    "a port for two protocols": pod(
        port_mappings=[{"container_port": 5, "host_port": 5, "protocol": p} for p in (0, 1)]
    ),
    "cgroup parent": pod(linux={"cgroup_parent": "/kubepods/burstable/pod1"}),
    "slice": pod(linux={"cgroup_parent": "/kubepods.slice/kubepods-pod1_2.slice"}),
    "slice alone": pod(linux={"cgroup_parent": "kubepods-pod1_2.slice"}),
    "DNS": pod(
        dns_config={"servers": ["10.0.0.10", "fe80::1%eth0"], "searches": ["a.svc", "."], "options": ["ndots:5"]}
    ),
    "hostname of a node": pod(hostname="my_node-1.example"),
    "hostname": pod(hostname="h" * 64),
}


@pytest.mark.parametrize("config", GOOD_PODS.values(), ids=GOOD_PODS)
def test_good_pods(config: cri.PodSandboxConfig) -> None:
    """Among them a pod-level runAsGroup without a user, which the kubelet sends."""
    validate.check_pod(config)


def container(**fields: Any) -> cri.ContainerConfig:
    return cri.ContainerConfig(**({"metadata": {"name": "c"}, "image": {"image": "i"}} | fields))


def secured(**context: Any) -> cri.ContainerConfig:
    config = container()
    config.linux.security_context.CopyFrom(cri.LinuxContainerSecurityContext(**context))
    return config


def limited(**resources: Any) -> cri.ContainerConfig:
    config = container()
    config.linux.resources.CopyFrom(cri.LinuxContainerResources(**resources))
    return config


ID5 = cri.Int64Value(value=5)

BAD_CONTAINERS = {
    "no metadata": (cri.ContainerConfig(), "metadata is missing"),
    "no name": (container(metadata={"name": ""}), "no name"),
    "no image": (container(image={}), "no image"),
    "absolute log path": (container(log_path="/x"), "log path"),
    "log path that climbs": (container(log_path="../x"), "log path"),
    "NUL in an argument": (container(args=["a\0b"]), "NUL"),
    "NUL in a variable": (container(envs=[{"key": "A", "value": b"\0"}]), "NUL"),
    "variable without a name": (container(envs=[{"value": b"x"}]), "name of a variable"),
    "variable with =": (container(envs=[{"key": "a=b"}]), "name of a variable"),
    "relative directory": (container(working_dir="x"), "working directory"),
    "user by id and by name": (secured(run_as_user=ID5, run_as_username="x"), "only one"),
    "run_as_group alone": (secured(run_as_group=ID5), "run_as_group needs"),
    "negative user": (secured(run_as_user=cri.Int64Value(value=-2)), "-2"),
    "groups policy": (secured(supplemental_groups_policy=7), "policy 7"),
    "privileged in an unprivileged pod": (secured(privileged=True), "privileged"),
    "user namespace CONTAINER": (secured(namespace_options={"userns_options": {"mode": 1}}), "POD or NODE"),
    "user namespace TARGET": (secured(namespace_options={"userns_options": {"mode": 3}}), "POD or NODE"),
    "seccomp type": (secured(seccomp={"profile_type": 9}), "seccomp profile type 9"),
    "seccomp without a file": (secured(seccomp={"profile_type": 2}), "localhost_ref"),
    "apparmor without a name": (secured(apparmor={"profile_type": 2}), "localhost_ref"),
    "relative masked path": (secured(masked_paths=["x"]), "'x'"),
    "relative read-only path": (secured(readonly_paths=["y"]), "'y'"),
    "relative device": (container(devices=[{"host_path": "null"}]), "absolute"),
    "relative device path": (container(devices=[{"host_path": "/dev/null", "container_path": "x"}]), "absolute"),
    "device permissions": (container(devices=[{"host_path": "/dev/null", "permissions": "rx"}]), "'rx'"),
    "negative shares": (limited(cpu_shares=-1), "negative"),
    "memory below -1": (limited(memory_limit_in_bytes=-2), "negative"),
    "oom score": (limited(oom_score_adj=-1001), "-1001"),
    "unified path": (limited(unified={"../x": "1"}), "'../x'"),
    "stop signal": (container(stop_signal=999), "999"),
    "mount": (container(mounts=[{"container_path": "c", "host_path": "/h"}]), "absolute"),
}


@pytest.mark.parametrize(("config", "words"), BAD_CONTAINERS.values(), ids=BAD_CONTAINERS)
def test_bad_containers(config: cri.ContainerConfig, words: str) -> None:
    """One sentence that names what is wrong; INVALID."""
    with pytest.raises(CrishimError) as caught:
        validate.check_container(config, pod())
    assert caught.value.kind is Kind.INVALID
    assert words in caught.value.message


GOOD_CONTAINERS = {
    "plain": container(),
    "run_as_group with a user": secured(run_as_group=ID5, run_as_user=ID5),
    "run_as_group with a username": secured(run_as_group=ID5, run_as_username="x"),
    "non-UTF-8 variable": container(envs=[{"key": "A", "value": b"\xff"}]),
    "unlimited memory": limited(memory_limit_in_bytes=-1, cpu_quota=-1),
    "stop signal": container(stop_signal=cri.SIGNAL_SIGRTMAX),
    "log path": container(log_path="c/0.log"),
}


@pytest.mark.parametrize("config", GOOD_CONTAINERS.values(), ids=GOOD_CONTAINERS)
def test_good_containers(config: cri.ContainerConfig) -> None:
    """Sound requests pass."""
    validate.check_container(config, pod())


def test_privileged_in_a_privileged_pod() -> None:
    """The pod was told at its creation."""
    validate.check_container(secured(privileged=True), pod_with(privileged=True))
