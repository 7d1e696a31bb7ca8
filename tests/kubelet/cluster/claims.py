"""Claims, pods that use them, and the two links the tests' driver offers."""

import json
from collections.abc import Sequence
from typing import Any

from tests.kubelet.cluster.objects import IDLE, apply
from tests.kubelet.shapes import pod, shell
from tests.support.isolation import ip
from tests.support.kubelet.cluster import Cluster

DRIVER = "netdevices.crishim.io"
LINKS = {"dev0": 1400, "dev1": 1450}  # with their MTU
BEFORE: dict[str, tuple[str, int, set[str]]] = {}  # MAC, MTU and global addresses of each, as they were made


def make_links() -> None:
    for number, (name, mtu) in enumerate(LINKS.items()):
        make_link(name, number, mtu)
        BEFORE[name] = described(name)


def make_link(name: str, number: int, mtu: int) -> None:
    for arguments in (
        f"link add {name} mtu {mtu} type veth peer name peer{number}",
        f"addr add 192.0.2.{7 + number}/24 dev {name}",
        f"addr add 2001:db8::{7 + number}/64 dev {name} nodad",
        f"link set peer{number} up",
        f"link set {name} up",
    ):
        ip(*arguments.split())


def described(name: str) -> tuple[str, int, set[str]]:
    link = json.loads(ip("-j", "addr", "show", name))[0]
    addresses = {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"}
    return link["address"], link["mtu"], addresses


def devices(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """The attributes of the devices that are published."""
    slices = json.loads(cluster.kubectl("get", "resourceslices", "-o", "json"))["items"]
    return {device["name"]: device["attributes"] for one in slices for device in one["spec"]["devices"]}


def attribute(name: str) -> str:
    """An attribute in CEL."""
    return f'device.attributes["{DRIVER}"].{name}'


def request(selector: str = "", *, interface: str = "", **exactly: Any) -> dict[str, Any]:
    """The spec of a claim: one device, or `count`, that a CEL expression picks."""
    exactly["deviceClassName"] = DRIVER
    if selector:
        exactly["selectors"] = [{"cel": {"expression": selector}}]
    found: dict[str, Any] = {"requests": [{"name": "link", "exactly": exactly}]}
    if interface:
        found["config"] = [{"opaque": {"driver": DRIVER, "parameters": {"interface": interface}}}]
    return {"devices": found}


def claim(cluster: Cluster, name: str, spec: dict[str, Any], kind: str = "ResourceClaim") -> None:
    apply(cluster, kind, name, spec, "resource.k8s.io/v1")


def claiming(
    *claims: str, main: dict[str, Any] | None = None, template: str = "", init: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """A pod whose containers all use these claims, or one made from a template."""
    main = main or shell(IDLE)
    entries = [{"name": f"link{number}", "resourceClaimName": name} for number, name in enumerate(claims)]
    entries += [{"name": "link", "resourceClaimTemplateName": template}] if template else []
    for container in (main, *init):
        container["resources"] = {"claims": [{"name": entry["name"]} for entry in entries]}
    return pod(main, initContainers=list(init), resourceClaims=entries, terminationGracePeriodSeconds=2)
