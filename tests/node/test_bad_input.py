"""What cannot work: a fitting code, one sentence that names the thing, and nothing left (the daemon fixture counts)."""

import concurrent.futures
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.daemon import Daemon, eventually, scratch_daemon
from tests.node.isolation import ip, remove_link
from tests.node.pods import (
    annotated,
    container_config,
    create,
    execute,
    pod_config,
    remove_pod,
    run_pod,
    start,
    status,
    wait_exited,
)

pytestmark = pytest.mark.node
Code = grpc.StatusCode


def refused(call: Callable[..., Any], *arguments: Any, **fields: Any) -> tuple[grpc.StatusCode, str]:
    """The code and the text of a refusal; the text is one sentence on one line."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **fields)
    text = caught.value.details()
    assert "\n" not in text
    assert 10 < len(text) < 600, text
    assert "Traceback" not in text
    assert "Error:" not in text.split(" ", 1)[0], text  # no bare exception
    return caught.value.code(), text


# Pods


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
    ],
)
def test_pods_that_cannot_be(daemon: Daemon, spoil: Callable[[cri.PodSandboxConfig], None], named: str) -> None:
    """A RunPodSandbox that can never work is INVALID_ARGUMENT and names what is wrong."""
    config = pod_config()
    spoil(config)
    code, text = refused(run_pod, daemon, config)
    assert code == Code.INVALID_ARGUMENT
    assert named in text


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


# Containers


@pytest.fixture(scope="module")
def pods(node: Daemon) -> Iterator[dict[str, str]]:
    """A pod for each runtime, with one container that makes the pod's cgroup."""
    made = {handler: run_pod(node, handler=handler) for handler in ("crun", "runc")}
    for pod in made.values():
        create(node, pod, container_config("first"))
    yield made
    for pod in made.values():
        remove_pod(node, pod)


@pytest.fixture(params=["crun", "runc"])
def pod(request: pytest.FixtureRequest, pods: dict[str, str]) -> str:
    return pods[request.param]


def container(change: Callable[[cri.ContainerConfig], object]) -> cri.ContainerConfig:
    config = container_config()
    change(config)
    return config


BAD_CONTAINERS = {
    "no metadata": (lambda c: c.ClearField("metadata"), Code.INVALID_ARGUMENT, "metadata"),
    "no image": (lambda c: c.ClearField("image"), Code.INVALID_ARGUMENT, "image"),
    "image not there": (
        lambda c: setattr(c.image, "image", "localhost/none:1"),
        Code.NOT_FOUND,
        "localhost/none:1",
    ),
    "image is no reference": (lambda c: setattr(c.image, "image", "UPPER::"), Code.NOT_FOUND, "UPPER::"),
    "command missing": (lambda c: c.command.__setitem__(slice(None), ["/no/such"]), Code.INVALID_ARGUMENT, "/no/such"),
    "command not in PATH": (lambda c: c.command.__setitem__(slice(None), ["nosuch"]), Code.INVALID_ARGUMENT, "nosuch"),
    "mount source missing": (
        lambda c: c.mounts.add(host_path="/no/such/source", container_path="/x"),
        Code.NOT_FOUND,
        "/no/such/source",
    ),
    "mount target relative": (
        lambda c: c.mounts.add(host_path="/tmp", container_path="x/../../y"),
        Code.INVALID_ARGUMENT,
        "x/../../y",
    ),
    "unknown user": (
        lambda c: setattr(c.linux.security_context, "run_as_username", "nobody-here"),
        Code.NOT_FOUND,
        "nobody-here",
    ),
    "group without user": (
        lambda c: setattr(c.linux.security_context.run_as_group, "value", 5),
        Code.INVALID_ARGUMENT,
        "run_as_group",
    ),
    "annotation is no JSON": (
        lambda c: c.annotations.update({"netdevices.crishim.io/container": "{net1"}),
        Code.INVALID_ARGUMENT,
        "netdevices.crishim.io/container",
    ),
    "annotation of another shape": (
        lambda c: c.annotations.update({"netdevices.crishim.io/container": '["eth1"]'}),
        Code.INVALID_ARGUMENT,
        "netdevices.crishim.io/container",
    ),
    "network device missing": (
        lambda c: c.annotations.update({"netdevices.crishim.io/container": '{"nodev0": {}}'}),
        Code.NOT_FOUND,
        "nodev0",
    ),
    "CDI device missing": (
        lambda c: c.CDI_devices.add(name="vendor.example/net=nic0"),
        Code.NOT_FOUND,
        "vendor.example/net=nic0",
    ),
    "CDI name malformed": (lambda c: c.CDI_devices.add(name="nic0"), Code.INVALID_ARGUMENT, "nic0"),
    "device missing": (
        lambda c: c.devices.add(host_path="/dev/nosuch", container_path="/dev/x", permissions="r"),
        Code.NOT_FOUND,
        "/dev/nosuch",
    ),
    "device permissions": (
        lambda c: c.devices.add(host_path="/dev/null", container_path="/dev/x", permissions="rq"),
        Code.INVALID_ARGUMENT,
        "/dev/null",
    ),
    "memory below what a runtime needs": (
        lambda c: setattr(c.linux.resources, "memory_limit_in_bytes", -5),
        Code.INVALID_ARGUMENT,
        "memory",
    ),
    "seccomp file missing": (
        lambda c: c.linux.security_context.seccomp.CopyFrom(
            cri.SecurityProfile(profile_type=cri.SecurityProfile.Localhost, localhost_ref="/no/such/profile.json")
        ),
        Code.NOT_FOUND,
        "/no/such/profile.json",
    ),
    "unknown capability": (
        lambda c: c.linux.security_context.capabilities.add_capabilities.append("FLY"),
        Code.INVALID_ARGUMENT,
        "FLY",
    ),
    "log path leaves": (lambda c: setattr(c, "log_path", "../../etc/x.log"), Code.INVALID_ARGUMENT, "../../etc/x.log"),
}


@pytest.mark.parametrize("case", BAD_CONTAINERS)
def test_containers_that_cannot_be(daemon: Daemon, pod: str, case: str) -> None:
    """Refused by CreateContainer, or by StartContainer where only the runtime can know; the name is free afterwards."""
    change, expected, named = BAD_CONTAINERS[case]
    config = container(change)
    try:
        made = create(daemon, pod, config)
    except grpc.RpcError:
        code, text = refused(create, daemon, pod, config)
        assert not daemon.call("ListContainers", filter=cri.ContainerFilter(label_selector={"x": "y"})).containers
    else:
        code, text = refused(daemon.call, "StartContainer", container_id=made)
        found = status(daemon, made)
        assert (found.state, found.exit_code, found.reason) == (cri.CONTAINER_EXITED, 128, "StartError")
        assert named in found.message
        daemon.call("RemoveContainer", container_id=made)
    assert (code, named in text) == (expected, True), text
    good = create(daemon, pod, container_config(command=["true"]))
    daemon.call("RemoveContainer", container_id=good)


@pytest.mark.parametrize("method", ["StartContainer", "ContainerStatus", "ExecSync", "ReopenContainerLog"])
def test_containers_that_are_not_there(daemon: Daemon, method: str) -> None:
    """NOT_FOUND names the id; an id that is ambiguous or none is said to be."""
    fields = {"cmd": ["true"]} if method == "ExecSync" else {}
    code, text = refused(daemon.call, method, container_id="beef" * 16, **fields)
    assert code == Code.NOT_FOUND
    assert "beef" in text
    assert refused(daemon.call, method, container_id="../../etc", **fields)[0] == Code.NOT_FOUND
    assert refused(daemon.call, method, container_id="", **fields)[0] in (Code.NOT_FOUND, Code.INVALID_ARGUMENT)


def test_an_empty_id_stops_and_removes_nothing(daemon: Daemon) -> None:
    """Stop and Remove with an empty id hit nothing, though there is exactly one pod and container."""
    pod = run_pod(daemon)
    one = start(daemon, pod)
    for method, fields in (
        ("StopContainer", {"container_id": ""}),
        ("RemoveContainer", {"container_id": ""}),
        ("StopPodSandbox", {"pod_sandbox_id": ""}),
        ("RemovePodSandbox", {"pod_sandbox_id": ""}),
    ):
        try:
            daemon.call(method, **fields)
        except grpc.RpcError as error:
            assert error.code() == Code.INVALID_ARGUMENT  # noqa: PT017
    assert status(daemon, one).state == cri.CONTAINER_RUNNING
    remove_pod(daemon, pod)


def test_a_container_in_a_pod_that_is_not_there(daemon: Daemon) -> None:
    """CreateContainer in an unknown pod: NOT_FOUND names it."""
    code, text = refused(create, daemon, "beef" * 16)
    assert (code, "beef" in text) == (Code.NOT_FOUND, True)


def test_a_container_name_in_use(daemon: Daemon) -> None:
    """ALREADY_EXISTS names the container and its holder; the next attempt is free, in another pod the name too."""
    pod, other = run_pod(daemon), run_pod(daemon)
    first = create(daemon, pod)
    code, text = refused(create, daemon, pod, container_config(command=["sh"]))
    assert code == Code.ALREADY_EXISTS
    assert first[:13] in text
    create(daemon, pod, container_config(attempt=1))
    create(daemon, other)
    daemon.call("RemoveContainer", container_id=first)
    create(daemon, pod, container_config(command=["sh"]))
    remove_pod(daemon, pod)
    remove_pod(daemon, other)


def test_a_container_in_a_stopped_pod(daemon: Daemon) -> None:
    """FAILED_PRECONDITION says the pod's state."""
    pod = run_pod(daemon)
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    code, text = refused(create, daemon, pod)
    assert code == Code.FAILED_PRECONDITION
    assert pod[:13] in text
    remove_pod(daemon, pod)


def test_start_twice(daemon: Daemon) -> None:
    """A running or ended container is not started again."""
    pod = run_pod(daemon)
    one = start(daemon, pod)
    assert refused(daemon.call, "StartContainer", container_id=one)[0] == Code.FAILED_PRECONDITION
    daemon.call("StopContainer", container_id=one, timeout=0)
    assert refused(daemon.call, "StartContainer", container_id=one)[0] == Code.FAILED_PRECONDITION
    assert refused(daemon.call, "ExecSync", container_id=one, cmd=["true"])[0] == Code.FAILED_PRECONDITION
    remove_pod(daemon, pod)


def test_a_device_missing_beside_one_that_is_there(daemon: Daemon) -> None:
    """The second of two network devices is missing: the first stays on the host; it works once the second is there."""
    ip("link", "add", "badt0", "type", "veth", "peer", "name", "badt1")
    ip("link", "set", "badt0", "up")
    try:
        config = pod_config(annotations=annotated(badt0="net1", badt2="net2"))
        pod = run_pod(daemon, config)
        code, text = refused(create, daemon, pod)
        assert (code, "badt2" in text) == (Code.NOT_FOUND, True)
        assert "UP" in ip("link", "show", "badt0")
        ip("link", "add", "badt2", "type", "ifb")
        one = start(daemon, pod)
        assert execute(daemon, one, "ip", "link", "show", "net2")[0] == 0
        remove_pod(daemon, pod)
    finally:
        remove_link("badt0")
        remove_link("badt2")


# Programs that fail


def script(path: Path, text: str) -> Path:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def troubled(busybox_archive: Path) -> Iterator[Daemon]:
    """A node whose runtime "slow" hangs in create, and whose runtimes have two seconds."""
    slow = script(
        Path(f"/dev/shm/slow-runtime-{os.getpid()}"), 'case "$*" in *" create "*) sleep 600;; esac; exec crun "$@"\n'
    )
    settings = {"handlers": {"crun": {"path": "crun"}, "slow": {"path": str(slow)}}, "timeout": 2}
    with scratch_daemon(runtimes=settings) as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        yield daemon
    slow.unlink()


def assert_unchanged(daemon: Daemon, before: dict[str, set[str]]) -> None:
    def new() -> dict[str, set[str]]:
        after = daemon.left()
        return {kind: after[kind] - before[kind] for kind in after if after[kind] - before[kind]}

    eventually(lambda: not new(), "nothing is left", timeout=5)


def test_a_runtime_that_hangs_in_create(troubled: Daemon) -> None:
    """DEADLINE_EXCEEDED after runtimes.timeout; conmon and runtime are gone, the pod can be removed."""
    pod = run_pod(troubled, handler="slow")
    before = troubled.left()
    before["cgroups"].add(pod)
    code, text = refused(create, troubled, pod)
    assert code == Code.DEADLINE_EXCEEDED
    assert "2 s" in text
    assert_unchanged(troubled, before)
    remove_pod(troubled, pod)


def test_conmon_that_fails(busybox_archive: Path) -> None:
    """conmon gone missing, or broken, after the start: the text names it, nothing is left."""
    with scratch_daemon() as probe:
        conmon = probe.directory / "conmon"
        probe.stop()
        script(conmon, "echo conmon is broken >&2; exit 3\n")
        probe.write_config({"runtimes": {"conmon": str(conmon)}})
        probe.start()
        assert probe.command("images", "import", str(busybox_archive)).returncode == 0
        pod = run_pod(probe)
        before = probe.left()
        before["cgroups"].add(pod)
        code, text = refused(create, probe, pod)
        assert code == Code.INTERNAL
        assert "conmon is broken" in text
        assert_unchanged(probe, before)
        conmon.unlink()
        before["files"].discard("conmon")
        code, text = refused(create, probe, pod)
        assert code == Code.FAILED_PRECONDITION
        assert str(conmon) in text
        assert_unchanged(probe, before)
        remove_pod(probe, pod)


# Races


def test_creates_against_a_stop(daemon: Daemon) -> None:
    """20 creates race a stop: each makes its container before, or is refused; none runs or is created afterwards."""
    pod = run_pod(daemon)

    def attempt(number: int) -> grpc.StatusCode | None:
        try:
            create(daemon, pod, container_config(f"c{number}"))
        except grpc.RpcError as error:
            return error.code()
        return None

    with concurrent.futures.ThreadPoolExecutor(21) as pool:
        creates = [pool.submit(attempt, n) for n in range(3)]
        eventually(lambda: any((daemon.state / "containers").iterdir()), "the first is being made")
        stop = pool.submit(daemon.call, "StopPodSandbox", pod_sandbox_id=pod)
        creates += [pool.submit(attempt, n) for n in range(3, 20)]
        codes = [c.result() for c in creates]
        stop.result()
    assert {None, Code.FAILED_PRECONDITION} == set(codes)
    listed = daemon.call("ListContainers", filter=cri.ContainerFilter(pod_sandbox_id=pod)).containers
    assert len(listed) == codes.count(None)
    assert {c.state for c in listed} <= {cri.CONTAINER_EXITED}
    remove_pod(daemon, pod)


def test_two_stops_with_different_timeouts(daemon: Daemon) -> None:
    """The shorter timeout of a second StopContainer takes effect; both return when the container has ended."""
    pod = run_pod(daemon)
    one = start(daemon, pod, container_config(command=["sh", "-c", "trap : TERM; while :; do sleep 0.05; done"]))
    eventually(lambda: execute(daemon, one, "true")[0] == 0, "it runs")
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        patient = pool.submit(daemon.call, "StopContainer", container_id=one, timeout=60)
        hasty = pool.submit(daemon.call, "StopContainer", container_id=one, timeout=1)
        hasty.result()
        patient.result()
    assert 0.9 < time.monotonic() - began < 10
    assert status(daemon, one).exit_code == 137
    remove_pod(daemon, pod)


def test_one_name_many_times(daemon: Daemon) -> None:
    """Ten equal RunPodSandbox, then ten equal CreateContainer at once: one pod, one container, one answer."""
    config = pod_config("same")
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        pods = {f.result() for f in [pool.submit(run_pod, daemon, config) for _ in range(10)]}
        assert len(pods) == 1
        pod = pods.pop()
        made = {f.result() for f in [pool.submit(create, daemon, pod) for _ in range(10)]}
        assert len(made) == 1
        stops = [pool.submit(daemon.call, "StopPodSandbox", pod_sandbox_id=pod) for _ in range(5)]
        stops += [pool.submit(daemon.call, "RemovePodSandbox", pod_sandbox_id=pod) for _ in range(5)]
        for stop in stops:
            stop.result()
    assert pod not in {p.id for p in daemon.call("ListPodSandbox").items}


def test_twenty_pods_at_once(daemon: Daemon) -> None:
    """20 pods started and removed in parallel leave nothing; each has addresses of its own."""

    def life(number: int) -> str:
        pod = run_pod(daemon, handler=("crun", "runc")[number % 2])
        address = str(daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status.network.ip)
        one = start(daemon, pod, container_config(command=["sh", "-c", f"exit {number}"]))
        assert wait_exited(daemon, one).exit_code == number
        remove_pod(daemon, pod)
        return address

    before = len(json.loads(daemon.crictl("pods", "-o", "json"))["items"])
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert len(set(pool.map(life, range(20)))) == 20
    assert len(json.loads(daemon.crictl("pods", "-o", "json"))["items"]) == before
