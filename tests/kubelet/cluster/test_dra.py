"""The main job: a pod claims a network device through DRA and gets it through CDI and linux.netDevices."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from hack.kubelet.cluster import Cluster
from tests.kubelet.shapes import SLEEP, pod, shell
from tests.node.daemon import eventually
from tests.node.isolation import ip, remove_link

pytestmark = pytest.mark.node
DRIVER = "netdevices.crishim.io"
RESOURCES = "resource.k8s.io/v1"


def described(name: str) -> tuple[str, int, set[str]]:
    """MAC, MTU and global addresses of a link of the host."""
    link = json.loads(ip("-j", "addr", "show", name))[0]
    addresses = {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"}
    return link["address"], link["mtu"], addresses


BEFORE: dict[str, tuple[str, int, set[str]]] = {}


@pytest.fixture(scope="module")
def claims(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with the driver, which offers dev0 (MTU 1400) and dev1 (MTU 1450)."""
    for number, mtu in ((0, 1400), (1, 1450)):
        for arguments in (
            f"link add dev{number} mtu {mtu} type veth peer name peer{number}",
            f"addr add 192.0.2.{7 + number}/24 dev dev{number}",
            f"addr add 2001:db8::{7 + number}/64 dev dev{number} nodad",
            f"link set peer{number} up",
            f"link set dev{number} up",
        ):
            ip(*arguments.split())
        BEFORE[f"dev{number}"] = described(f"dev{number}")
    cluster.start_driver("dev[0-9]")
    yield cluster
    cluster.kubectl("delete", "deployments,pods,resourceclaims", "--all", "--wait", "--timeout=60s")
    for name in BEFORE:
        remove_link(name)


@pytest.fixture(autouse=True)
def all_returned(claims: Cluster) -> Iterator[None]:
    """After each test the pods go, and every device is on the host again as it was."""
    yield
    claims.kubectl("delete", "deployments,pods,resourceclaims,resourceclaimtemplates", "--all", "--timeout=60s")

    def back() -> bool:
        with contextlib.suppress(AssertionError):
            return {name: described(name) for name in BEFORE} == BEFORE
        return False

    eventually(back, "the devices are back as they were", 20)


def request(selector: str = "") -> dict[str, Any]:
    exactly: dict[str, Any] = {"deviceClassName": DRIVER}
    if selector:
        exactly["selectors"] = [{"cel": {"expression": selector}}]
    return {"devices": {"requests": [{"name": "link", "exactly": exactly}]}}


def attribute(name: str) -> str:
    return f'device.attributes["{DRIVER}"].{name}'


def apply(cluster: Cluster, kind: str, name: str, spec: dict[str, Any], version: str = "v1") -> None:
    document = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document))


def claiming(claim: str, *containers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A pod whose containers all use one claim."""
    made = [*(containers or (shell(),)), *fields.get("initContainers", ())]
    for container in made:
        container["resources"] = {"claims": [{"name": "link"}]}
    names = [{"name": "link", **({"resourceClaimName": claim} if claim else fields.pop("template"))}]
    base = pod(*(containers or tuple(made[:1])), resourceClaims=names, terminationGracePeriodSeconds=2)
    return {**base, **fields}


def ready(cluster: Cluster, name: str, timeout: int = 60) -> None:
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={timeout}s")


def test_the_device_is_there_at_the_first_instruction(claims: Cluster) -> None:
    """Init container, sidecar and main see net1 UP with its addresses; a restart keeps it; the status has it."""
    apply(claims, "ResourceClaim", "shared", request(f"{attribute('mtu')} == 1400"), RESOURCES)
    look = "ip -o addr show net1 | grep -q 192.0.2.7/24 && ip link show net1 | grep -q ,UP || exit 9"
    inits = [shell(look, "init"), shell(f"{look}; {SLEEP}", "side", restartPolicy="Always")]
    main = shell(f"{look}; cat /sys/class/net/net1/ifindex; sleep 2; exit 1")
    apply(claims, "Pod", "shares", claiming("shared", main, initContainers=inits))
    path = "jsonpath={.status.containerStatuses[0].restartCount}"
    eventually(lambda: claims.kubectl("get", "pod", "shares", "-o", path) >= "2", "it was restarted twice", 60)
    found = json.loads(claims.kubectl("get", "pod", "shares", "-o", "json"))["status"]
    assert found["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1
    assert found["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    assert found["initContainerStatuses"][1]["restartCount"] == 0
    assert all(entry["ip"].startswith(("10.231.", "fd31::")) for entry in found["podIPs"])
    status = json.loads(claims.kubectl("get", "resourceclaim", "shared", "-o", "json"))["status"]["devices"][0]
    mac, _, addresses = BEFORE["dev0"]
    assert (status["driver"], status["device"]) == (DRIVER, "dev0")
    data = status["networkData"]
    assert (data["interfaceName"], data["hardwareAddress"], set(data["ips"])) == ("net1", mac, addresses)


def test_the_next_claim_gets_what_a_pod_gave_back(claims: Cluster) -> None:
    """Two pods want the one device of a kind: the second waits, and has it when the first is gone."""
    for name in ("first", "second"):
        apply(claims, "ResourceClaim", name, request(f'{attribute("interface")} == "dev1"'), RESOURCES)
    apply(claims, "Pod", "first", claiming("first"))
    ready(claims, "first")
    apply(claims, "Pod", "second", claiming("second"))
    told = ("get", "events", "--field-selector=involvedObject.name=second", "-o", "jsonpath={.items[*].message}")
    eventually(lambda: "cannot allocate all claims" in claims.kubectl(*told), "the scheduler says why it waits", 30)
    claims.kubectl("delete", "pod/first", "resourceclaim/first", "--wait")
    ready(claims, "second")
    assert "192.0.2.8/24" in claims.kubectl("exec", "second", "--", "ip", "addr", "show", "net1")


def test_a_template_in_a_deployment(claims: Cluster) -> None:
    """A ResourceClaimTemplate: each of two replicas has a device of its own; a deleted one's successor gets it."""
    apply(claims, "ResourceClaimTemplate", "each", {"spec": request()}, RESOURCES)
    spec = claiming("", shell(), template={"resourceClaimTemplateName": "each"})
    template = {"metadata": {"labels": {"app": "pair"}}, "spec": spec}
    labels = {"matchLabels": {"app": "pair"}}
    apply(claims, "Deployment", "pair", {"replicas": 2, "selector": labels, "template": template}, "apps/v1")
    claims.kubectl("rollout", "status", "deployment/pair", "--timeout=60s")
    names = claims.kubectl("get", "pods", "-l", "app=pair", "-o", "name").split()
    shown = [claims.kubectl("exec", name, "--", "ip", "-o", "addr", "show", "net1") for name in names]
    assert sorted(text.split("inet ")[1].split()[0] for text in shown) == ["192.0.2.7/24", "192.0.2.8/24"]
    claims.kubectl("delete", names[0], "--wait")
    claims.kubectl("rollout", "status", "deployment/pair", "--timeout=60s")


def test_an_interface_named_by_the_claim(claims: Cluster) -> None:
    """Parameters of the claim name the interface."""
    spec = request()
    opaque = {"driver": DRIVER, "parameters": {"interface": "fast0"}}
    spec["devices"]["config"] = [{"requests": ["link"], "opaque": opaque}]
    apply(claims, "ResourceClaim", "named", spec, RESOURCES)
    apply(claims, "Pod", "named", claiming("named"))
    ready(claims, "named")
    assert "UP" in claims.kubectl("exec", "named", "--", "ip", "link", "show", "fast0")
