"""What cannot work: a fitting code, one sentence that names the thing, and nothing left (the daemon fixture counts)."""

from collections.abc import Callable, Iterator

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.refusals import refused
from tests.support.daemon import Daemon
from tests.support.isolation import ip, remove_link
from tests.support.pods import (
    annotated,
    container_config,
    create,
    execute,
    pod_config,
    remove_pod,
    run_pod,
    start,
    status,
)

pytestmark = pytest.mark.node
Code = grpc.StatusCode


# Pods


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
    "mount source missing, where none can be made": (
        lambda c: c.mounts.add(host_path="/proc/no/such/source", container_path="/x"),
        Code.FAILED_PRECONDITION,
        "/proc/no",
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


@pytest.mark.fact("StartContainer")
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
    for request in (
        cri.StopContainerRequest(),
        cri.RemoveContainerRequest(),
        cri.StopPodSandboxRequest(),
        cri.RemovePodSandboxRequest(),
    ):
        try:
            daemon.call(type(request).__name__.removesuffix("Request"), request)
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


# Races
