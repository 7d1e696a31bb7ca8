"""Network devices through the CRI, from annotation and CDI name to the return, with the OCI runtime as mover (runc,
youki, crun from 1.23 on) and with the built-in one (an older crun). The driver's own cases are in tests/node/netdev/.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.movers import WITH_YOUKI, handlers, moves_devices
from tests.support.daemon import Daemon, scratch_daemon
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
    wait_exited,
)

pytestmark = pytest.mark.node
_numbers = itertools.count()


def link(name: str) -> dict[str, object]:
    """What must be the same after a device's return."""
    found = json.loads(ip("-j", "-d", "addr", "show", name))[0]
    addresses = sorted(f"{a['local']}/{a['prefixlen']}" for a in found["addr_info"] if a["scope"] == "global")
    facts = {k: found[k] for k in ("ifname", "ifindex", "mtu", "address")}
    return facts | {"up": "UP" in found["flags"], "addresses": addresses}


@pytest.fixture
def device() -> Iterator[str]:
    """A host device with IPv4, IPv6 and MTU 1400."""
    number = next(_numbers)
    name = f"dev{number}"
    ip("link", "add", name, "mtu", "1400", "type", "veth", "peer", "name", f"{name}p")
    ip("addr", "add", f"192.0.2.{number + 1}/24", "dev", name)
    ip("addr", "add", f"2001:db8::{number + 1:x}/64", "dev", name, "nodad")
    ip("link", "set", f"{name}p", "up")
    ip("link", "set", name, "up")
    yield name
    remove_link(name)


@pytest.fixture(scope="module")
def node(busybox_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with a handler for each mover."""
    with scratch_daemon(runtimes={"handlers": handlers(tmp_path_factory.mktemp("movers"))}) as daemon:
        done = daemon.command("images", "import", str(busybox_archive))
        assert done.returncode == 0, done.stderr
        yield daemon


@pytest.fixture(params=["runc", "crun", WITH_YOUKI])
def handler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def on_host(name: str) -> bool:
    return any(entry["ifname"] == name for entry in json.loads(ip("-j", "link")))


def net1(daemon: Daemon, container: str, name: str = "net1") -> str:
    code, text = execute(daemon, container, "ip", "addr", "show", name)
    assert code == 0, text
    return text


def test_a_device_stays_through_three_restarts_and_returns(daemon: Daemon, device: str, handler: str) -> None:
    """Case 1: killed and re-created three times, same in-pod ifindex and addresses; at stop it is as it was."""
    before = link(device)
    config = pod_config(annotations=annotated(**{device: "net1"}))
    pod = run_pod(daemon, config, handler)
    assert link(device) == before, "a pod without a container takes nothing"
    seen = set()
    for attempt in range(4):
        container = start(daemon, pod, container_config(attempt=attempt))
        shown = net1(daemon, container)
        assert ",UP" in shown
        assert "mtu 1400 " in shown
        assert str(before["address"]) in shown
        for address in before["addresses"]:  # type: ignore[attr-defined]
            (line,) = [text for text in shown.splitlines() if f" {address} " in text]
            assert "tentative" not in line
        seen.add(shown.split(":")[0])
        daemon.call("StopContainer", container_id=container, timeout=0)
        assert wait_exited(daemon, container).exit_code == 137
    assert len(seen) == 1
    assert not on_host(device)
    remove_pod(daemon, pod)
    assert link(device) == before


def test_init_main_and_sidecar_share_a_cdi_device(daemon: Daemon, device: str, handler: str) -> None:
    """Case 2: three containers name one CDI device by the field; the second and third find it in place."""
    before = link(device)
    cdi = daemon.directory / "cdi"
    cdi.mkdir(exist_ok=True)
    edits = {"netDevices": [{"hostInterfaceName": device, "name": "net1"}]}
    spec = {"cdiVersion": "1.1.0", "kind": "example.com/nic", "devices": [{"name": "one", "containerEdits": edits}]}
    file = cdi / "example.json"
    file.write_text(json.dumps(spec))
    try:
        pod = run_pod(daemon, handler=handler)
        wish = [cri.CDIDevice(name="example.com/nic=one")]
        init = start(daemon, pod, container_config("init", command=["ip", "link", "show", "net1"], CDI_devices=wish))
        assert wait_exited(daemon, init).exit_code == 0
        for name in ("main", "sidecar"):
            net1(daemon, start(daemon, pod, container_config(name, CDI_devices=wish)))
        remove_pod(daemon, pod)
    finally:
        file.unlink()
    assert link(device) == before


def test_status_shows_the_device_and_never_its_address_as_a_pod_ip(daemon: Daemon, device: str, handler: str) -> None:
    """Case 22: podIPs are eth0's; the device is in the verbose info and in `crishim netdev`."""
    pod = run_pod(daemon, pod_config("shown", annotations=annotated(**{device: "net1"})), handler)
    start(daemon, pod)
    answer = daemon.call("PodSandboxStatus", pod_sandbox_id=pod, verbose=True)
    ips = [answer.status.network.ip, *(a.ip for a in answer.status.network.additional_ips)]
    assert not any(a.startswith(("192.0.2.", "2001:db8:")) for a in ips)
    (shown,) = json.loads(answer.info["info"])["netDevices"]
    assert (shown["name"], shown["hostName"], shown["state"]) == ("net1", device, "ready")
    assert shown["mover"] == ("runtime" if moves_devices(handler) else "builtin")
    listed = daemon.command("netdev", "list").stdout
    assert device in listed
    assert "test/shown" in listed
    details = json.loads(daemon.command("netdev", "show", device).stdout)
    assert details[0]["pod"] == pod
    remove_pod(daemon, pod)


def test_remove_without_stop_returns_the_device(daemon: Daemon, device: str, handler: str) -> None:
    """Case 24, and 18: the next attempt of the pod gets it again."""
    before = link(device)
    for attempt in range(2):
        pod = run_pod(daemon, pod_config("again", attempt, annotations=annotated(**{device: "net1"})), handler)
        net1(daemon, start(daemon, pod))
        daemon.call("RemovePodSandbox", pod_sandbox_id=pod)
        assert link(device) == before


def test_of_two_devices_one_missing_moves_none(daemon: Daemon, device: str, handler: str) -> None:
    """Case 5: NOT_FOUND names it, the other is still on the host; once it appears a retry works."""
    before = link(device)
    pod = run_pod(daemon, pod_config(annotations=annotated(**{device: "net1", "nodev0": "net2"})), handler)
    with pytest.raises(grpc.RpcError) as caught:
        create(daemon, pod)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert "nodev0" in caught.value.details()
    assert link(device) == before
    ip("link", "add", "nodev0", "type", "veth", "peer", "name", "nodev0p")
    try:
        container = start(daemon, pod)
        net1(daemon, container)
        net1(daemon, container, "net2")
        remove_pod(daemon, pod)
        assert on_host("nodev0")
    finally:
        remove_link("nodev0")
    assert link(device) == before


def test_a_failing_create_puts_the_device_back(daemon: Daemon, device: str, handler: str) -> None:
    """A command that does not exist, after the device was moved: it is back on the host as it was."""
    before = link(device)
    pod = run_pod(daemon, pod_config(annotations=annotated(**{device: "net1"})), handler)
    with pytest.raises(grpc.RpcError) as caught:
        start(daemon, pod, container_config(command=["/no/such/command"]))
    assert "/no/such/command" in caught.value.details()
    remove_pod(daemon, pod)
    assert link(device) == before


def test_a_second_pod_is_told_the_holder(daemon: Daemon, device: str, handler: str) -> None:
    """Case 20: ABORTED names the pod that has the device."""
    one = run_pod(daemon, pod_config("holder", annotations=annotated(**{device: "net1"})), handler)
    start(daemon, one)
    two = run_pod(daemon, pod_config("late", annotations=annotated(**{device: "net1"})), handler)
    with pytest.raises(grpc.RpcError) as caught:
        create(daemon, two)
    assert caught.value.code() == grpc.StatusCode.ABORTED
    assert "test/holder" in caught.value.details()
    remove_pod(daemon, one)
    net1(daemon, start(daemon, two))
    remove_pod(daemon, two)


def test_attach_and_detach_by_command(daemon: Daemon, device: str) -> None:
    """`crishim netdev attach` gives a running pod a device, detach brings it back; also when its answer got lost."""
    before = link(device)
    pod = run_pod(daemon)
    container = start(daemon, pod)
    done = daemon.command("netdev", "attach", pod, device, "--name", "hot0")
    assert done.returncode == 0, done.stderr
    assert "192.0.2." in net1(daemon, container, "hot0")
    done = daemon.command("netdev", "detach", pod, "hot0")
    assert done.returncode == 0, done.stderr
    assert link(device) == before
    daemon.kill()
    daemon.start()
    for name in ("hot0", device):
        again = daemon.command("netdev", "detach", pod, name)
        assert (again.returncode, " done " in again.stdout) == (0, True), again.stderr
    never = daemon.command("netdev", "detach", pod, "hot1")
    assert (never.returncode, "has no network device hot1" in never.stderr) == (1, True)
    assert link(device) == before
    remove_pod(daemon, pod)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", grpc.StatusCode.INVALID_ARGUMENT),
        ('{"lo": {"name": "net1"}}', grpc.StatusCode.FAILED_PRECONDITION),
        ('{"DEVICE": {"name": "a-name-of-16-byt"}}', grpc.StatusCode.INVALID_ARGUMENT),
        ('{"DEVICE": {"name": "eth0"}}', grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
def test_bad_wishes_are_refused_and_touch_nothing(daemon: Daemon, device: str, text: str, code: object) -> None:
    """Malformed JSON, lo, a name too long, a clash with eth0: refused in one sentence, the link as before."""
    before = link(device)
    annotations = {"netdevices.crishim.io/pod": text.replace("DEVICE", device)}
    pod = run_pod(daemon, pod_config(annotations=annotations))
    with pytest.raises(grpc.RpcError) as caught:
        create(daemon, pod)
    assert caught.value.code() == code, caught.value.details()
    assert link(device) == before
    remove_pod(daemon, pod)


def test_a_host_network_pod_gets_none(daemon: Daemon, device: str) -> None:
    """There is no namespace to move a device to: refused, and the link as before."""
    before = link(device)
    config = pod_config(annotations=annotated(**{device: "net1"}))
    config.linux.security_context.namespace_options.network = cri.NODE
    pod = run_pod(daemon, config)
    wish = container_config()
    wish.linux.security_context.namespace_options.network = cri.NODE
    with pytest.raises(grpc.RpcError) as caught:
        create(daemon, pod, wish)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert link(device) == before
    remove_pod(daemon, pod)
