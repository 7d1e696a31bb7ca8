"""The main job: a pod claims a network device through DRA and gets it through CDI and linux.netDevices."""

import json
from pathlib import Path

import pytest

from tests.kubelet.cluster.claims import BEFORE, DRIVER, attribute, claim, claiming, devices, request
from tests.kubelet.cluster.objects import IDLE, apply, container, put, ready, run, status, told
from tests.kubelet.shapes import shell
from tests.support.kubelet.cluster import Cluster
from tests.support.kubelet.control_plane import patiently

pytestmark = pytest.mark.node
SHOW = "ip -o addr show net1"


def exec_ip(cluster: Cluster, pod: str, interface: str = "net1") -> str:
    return cluster.kubectl("exec", pod, "--", "ip", "addr", "show", interface)


def test_the_slice_has_the_links(claims: Cluster) -> None:
    """A ResourceSlice of the node: each link with its MAC, MTU, driver and addresses."""
    published = devices(claims)
    assert set(published) == set(BEFORE)
    for name, (mac, mtu, addresses) in BEFORE.items():
        found = {key: next(iter(value.values())) for key, value in published[name].items()}
        assert addresses == {found.pop("ipv4"), found.pop("ipv6")}
        assert found == {"interface": name, "mac": mac, "mtu": mtu, "driver": "veth"}


def test_the_device_is_there_at_the_first_instruction(claims: Cluster) -> None:
    """Init container, sidecar and main see net1 UP with its addresses; restarts keep it; the claim's status has it."""
    claim(claims, "shared", request(f"{attribute('mtu')} == 1400"))
    look = (
        f"{SHOW} | grep -q 192.0.2.7/24 && {SHOW} | grep -q 2001:db8::7/64 && ip link show net1 | grep -q ,UP || exit 9"
    )
    inits = [shell(look, "init"), shell(f"{look}; {IDLE}", "side", restartPolicy="Always")]
    main = shell(f"{look}; cat /sys/class/net/net1/ifindex >/dev/termination-log; exit 1")
    put(claims, "shares", claiming("shared", main=main, init=inits))
    patiently(lambda: container(claims, "shares").get("restartCount", 0) >= 2, "restarted twice", 100)
    found = status(claims, "shares")
    ended = found["containerStatuses"][0]["lastState"]["terminated"]
    assert ended["exitCode"] == 1
    assert found["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    assert found["initContainerStatuses"][1]["restartCount"] == 0
    assert all(entry["ip"].startswith(("10.231.", "fd31::")) for entry in found["podIPs"])
    index = claims.kubectl("exec", "shares", "-c", "side", "--", "cat", "/sys/class/net/net1/ifindex")
    assert ended["message"] == index
    reported = json.loads(claims.kubectl("get", "resourceclaim", "shared", "-o", "json"))["status"]["devices"][0]
    mac, _, addresses = BEFORE["dev0"]
    assert (reported["driver"], reported["device"]) == (DRIVER, "dev0")
    data = reported["networkData"]
    assert (data["interfaceName"], data["hardwareAddress"], set(data["ips"])) == ("net1", mac, addresses)


def test_a_claim_is_a_cdi_file(claims: Cluster) -> None:
    """A prepared claim is a CDI 1.1 file with netDevices; it goes with the pod."""
    claim(claims, "filed", request(f"{attribute('mtu')} == 1450"))
    run(claims, "filed", claiming("filed"))
    uid = claims.kubectl("get", "resourceclaim", "filed", "-o", "jsonpath={.metadata.uid}")
    path = claims.daemon.directory / "cdi" / f"{DRIVER}-{uid}.json"
    written = json.loads(path.read_text())
    assert (written["cdiVersion"], written["kind"]) == ("1.1.0", f"{DRIVER}/claim")
    edits = written["devices"][0]["containerEdits"]
    assert edits == {"netDevices": [{"hostInterfaceName": "dev1", "name": "net1"}]}
    claims.kubectl("delete", "pod", "filed", "--wait")
    patiently(lambda: not path.exists(), "the file is removed", 60)


def test_the_next_claim_gets_what_a_pod_gave_back(claims: Cluster) -> None:
    """Two pods want the one device of a kind: the second waits, and has it when the first is gone."""
    for name in ("first", "second"):
        claim(claims, name, request(f'{attribute("interface")} == "dev1"'))
    run(claims, "first", claiming("first"))
    put(claims, "second", claiming("second"))
    told(claims, "second", "cannot allocate all claims")
    claims.kubectl("delete", "pod/first", "resourceclaim/first", "--wait")
    ready(claims, "second")
    assert "192.0.2.8/24" in exec_ip(claims, "second")


def test_a_claim_by_attribute(claims: Cluster) -> None:
    """CEL over MAC, driver and address picks the device; over what no device has, the pod waits."""
    mac = BEFORE["dev1"][0]
    wanted = f'{attribute("mac")} == "{mac}" && {attribute("driver")} == "veth" && '
    wanted += f'{attribute("ipv6")}.startsWith("2001:db8::")'
    claim(claims, "exact", request(wanted))
    claim(claims, "jumbo", request(f"{attribute('mtu')} >= 9000"))
    put(claims, "waits", claiming("jumbo"))
    run(claims, "exact", claiming("exact"))
    assert mac in exec_ip(claims, "exact")
    told(claims, "waits", "cannot allocate all claims")


def test_a_template_in_a_deployment(claims: Cluster) -> None:
    """A ResourceClaimTemplate: each of two replicas has a device of its own; a deleted one's successor gets it."""
    claim(claims, "each", {"spec": request()}, kind="ResourceClaimTemplate")
    template = {"metadata": {"labels": {"app": "pair"}}, "spec": claiming(template="each")}
    labels = {"matchLabels": {"app": "pair"}}
    apply(claims, "Deployment", "pair", {"replicas": 2, "selector": labels, "template": template}, "apps/v1")
    for _ in range(2):
        claims.kubectl("rollout", "status", "deployment/pair", "--timeout=150s")
        names = claims.kubectl("get", "pods", "-l", "app=pair", "-o", "name").split()
        shown = [claims.kubectl("exec", name, "--", "sh", "-c", SHOW) for name in names]
        assert sorted(text.split("inet ")[1].split()[0] for text in shown) == ["192.0.2.7/24", "192.0.2.8/24"]
        claims.kubectl("delete", names[0], "--wait")


def test_two_devices_of_one_pod(claims: Cluster) -> None:
    """Two claims of one pod, and one claim for two devices: net1 and net2."""
    for name, device in (("left", "dev0"), ("right", "dev1")):
        claim(claims, name, request(f'{attribute("interface")} == "{device}"'))
    run(claims, "two-claims", claiming("left", "right"))
    shown = exec_ip(claims, "two-claims") + exec_ip(claims, "two-claims", "net2")
    assert "192.0.2.7/24" in shown
    assert "192.0.2.8/24" in shown
    claims.kubectl("delete", "pod/two-claims", "resourceclaim/left", "resourceclaim/right", "--wait")
    claim(claims, "both", request(count=2))
    run(claims, "one-claim", claiming("both"))
    shown = exec_ip(claims, "one-claim") + exec_ip(claims, "one-claim", "net2")
    assert "192.0.2.7/24" in shown
    assert "192.0.2.8/24" in shown


def test_an_interface_named_by_the_claim(claims: Cluster) -> None:
    """Parameters of the claim name the interface."""
    claim(claims, "named", request(interface="fast0"))
    run(claims, "named", claiming("named"))
    assert "UP" in exec_ip(claims, "named", "fast0")


def test_the_example(claims: Cluster) -> None:
    """The manifest that the documentation shows."""
    claims.kubectl("apply", "-f", str(Path(__file__).parents[3] / "hack/dra/example.yaml"))
    ready(claims, "claims")
    assert "net1    inet 192.0.2." in claims.kubectl("logs", "claims")
