"""Who may take a host device by annotation, on a running daemon: `netdevices.allow` and its default."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon, assert_clean, eventually, scratch_daemon
from tests.support.isolation import ip, remove_link
from tests.support.pods import container_config, create, execute, pod_config, remove_pod, run_pod, start

pytestmark = pytest.mark.node
RULES = [{"devices": ["polt[0-4]", "other*"], "kinds": ["veth"], "namespaces": ["team-*"]}]


@pytest.fixture(scope="module", params=["default", "rules"])
def ruled(request: pytest.FixtureRequest, busybox_archive: Path) -> Iterator[Daemon]:
    """A daemon with the default policy, and one with rules."""
    with scratch_daemon(netdevices={"allow": [] if request.param == "default" else RULES}) as daemon:
        done = daemon.command("images", "import", str(busybox_archive))
        assert done.returncode == 0, done.stderr
        yield daemon


@pytest.fixture
def strict(ruled: Daemon) -> Iterator[Daemon]:
    before = ruled.left()
    yield ruled
    assert_clean(ruled, before)


@pytest.fixture
def device() -> Iterator[str]:
    ip("link", "add", "polt0", "mtu", "1400", "type", "veth", "peer", "name", "polt0p")
    ip("addr", "add", "192.0.2.7/24", "dev", "polt0")
    ip("link", "property", "add", "dev", "polt0", "altname", "nic-of-the-lab")
    ip("link", "set", "polt0", "addrgenmode", "none")  # no link-local address that is tentative in one look alone
    ip("link", "set", "polt0p", "up")
    ip("link", "set", "polt0", "up")
    eventually(lambda: link("polt0")[0]["operstate"] == "UP", "the kernel has noticed the carrier")
    yield "polt0"
    remove_link("polt0")


def in_namespace(namespace: str, wish: dict[str, Any], **fields: Any) -> cri.PodSandboxConfig:
    config = pod_config(annotations={"netdevices.crishim.io/pod": json.dumps(wish)}, **fields)
    config.metadata.namespace = namespace
    return config


def link(name: str) -> Any:
    return json.loads(ip("-j", "-d", "addr", "show", name))


def refused(daemon: Daemon, pod: cri.PodSandboxConfig, container: cri.ContainerConfig | None = None) -> str:
    """The text of a PERMISSION_DENIED."""
    id = run_pod(daemon, pod)
    try:
        with pytest.raises(grpc.RpcError) as caught:
            create(daemon, id, container)
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED, caught.value.details()
        return str(caught.value.details())
    finally:
        remove_pod(daemon, id)


def test_no_annotation_is_granted_by_default(device: str, strict: Daemon) -> None:
    """No rule, no device: the refusal names device, pod and setting, and the link is as it was."""
    before = link(device)
    text = refused(strict, in_namespace("default", {device: {"name": "net1"}}))
    assert all(word in text for word in (device, "default/pod", "netdevices.allow")), text
    assert link(device) == before


def test_a_pod_cannot_pose_as_of_another_namespace(device: str, strict: Daemon) -> None:
    """Labels, annotations and the second copy of the pod's configuration are its author's: the metadata counts."""
    before = link(device)
    key = "io.kubernetes.pod.namespace"
    pod = in_namespace("default", {device: {}}, labels={key: "team-a"})
    pod.annotations[key] = "team-a"
    assert "default/" in refused(strict, pod)
    id = run_pod(strict, pod)
    claimed = in_namespace("team-a", {device: {}})
    claimed.metadata.name = pod.metadata.name
    try:
        with pytest.raises(grpc.RpcError) as caught:
            create(strict, id, container_config(labels={key: "team-a"}), claimed)
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
    finally:
        remove_pod(strict, id)
    assert link(device) == before


@pytest.mark.parametrize("asked", ["nic-of-the-lab", "polt[0-4]", "polt*", "INDEX", "POLT0", "polt0p", "ifINDEX"])
def test_names_that_are_not_allowed(device: str, strict: Daemon, asked: str) -> None:
    """A pattern, an ifindex, another case, the other end: none is a device that a pod of `default` may have."""
    before = link(device)
    asked = asked.replace("INDEX", str(before[0]["ifindex"]))
    assert asked in refused(strict, in_namespace("default", {asked: {"name": "net1"}}))
    assert link(device) == before


def test_the_list_of_the_host_says_to_whom(device: str, strict: Daemon) -> None:
    """By rules to whom, or that by annotation to nobody."""
    (row,) = [x for x in strict.command("netdev", "list", "--host").stdout.splitlines() if x.startswith(f"{device} ")]
    ruled = "team-" in strict.config.read_text()
    granted = "free pods of team-* netdevices.allow[0]"
    nobody = "free CDI, netdev attach by annotation to nobody: no rule of netdevices.allow"
    assert (granted if ruled else nobody) in " ".join(row.split())


def test_a_containers_annotation_is_no_way_round(device: str, strict: Daemon) -> None:
    """crictl can put one on a container: the same rules."""
    wish = {"netdevices.crishim.io/container": json.dumps({device: {}})}
    assert device in refused(strict, in_namespace("default", {}), container_config(annotations=wish))


def test_root_needs_no_rule(device: str, strict: Daemon) -> None:
    """A CDI file and `crishim netdev attach` are root's: they give the device under any policy."""
    before = link(device)
    cdi = strict.directory / "cdi"
    cdi.mkdir(exist_ok=True)
    edits = {"netDevices": [{"hostInterfaceName": device, "name": "net1"}]}
    spec = {"cdiVersion": "1.1.0", "kind": "example.com/nic", "devices": [{"name": "one", "containerEdits": edits}]}
    (cdi / "example.json").write_text(json.dumps(spec))
    pod = run_pod(strict)
    wish = container_config(CDI_devices=[cri.CDIDevice(name="example.com/nic=one")])
    container = create(strict, pod, wish)
    remove_pod(strict, pod)
    (cdi / "example.json").unlink()
    assert link(device) == before
    pod = run_pod(strict)
    container = start(strict, pod)
    done = strict.command("netdev", "attach", pod, device, "--name", "net1")
    assert done.returncode == 0, done.stderr
    assert execute(strict, container, "ip", "link", "show", "net1")[0] == 0
    remove_pod(strict, pod)
    assert link(device) == before


@pytest.mark.parametrize("ruled", ["rules"], indirect=True)
def test_rules_give_devices_to_namespaces(device: str, strict: Daemon) -> None:
    """By name and altname to a pod of the namespace; a kind that is not the rule's is named in the refusal."""
    before = link(device)
    for name in (device, "nic-of-the-lab"):
        pod = run_pod(strict, in_namespace("team-a", {name: {"name": "net1"}}))
        start(strict, pod)
        remove_pod(strict, pod)
        assert link(device) == before
    with contextlib.ExitStack() as stack:
        ip("link", "add", "polt1", "type", "ifb")
        stack.callback(remove_link, "polt1")
        text = refused(strict, in_namespace("team-a", {"polt1": {}}))
        assert "netdevices.allow[0] is for kinds veth, and it is ifb" in text


@pytest.mark.parametrize("ruled", ["rules"], indirect=True)
def test_a_narrower_policy_does_not_stop_a_restart(device: str, strict: Daemon) -> None:
    """The pod has its device; a daemon that would not give it any more lets the pod's containers start again."""
    before, settings = link(device), strict.config.read_text()
    pod = run_pod(strict, in_namespace("team-a", {device: {"name": "net1"}}))
    first = start(strict, pod)
    try:
        strict.stop()
        strict.config.write_text(settings.replace("team-*", "others"))
        strict.start()
        strict.call("StopContainer", container_id=first, timeout=0)
        again = start(strict, pod, container_config(attempt=1))
        assert execute(strict, again, "ip", "link", "show", "net1")[0] == 0
        remove_pod(strict, pod)
        assert link(device) == before
        assert device in refused(strict, in_namespace("team-a", {device: {"name": "net1"}}))
    finally:
        strict.stop()
        strict.config.write_text(settings)
        strict.start()
