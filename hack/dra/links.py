"""Host links, and what a ResourceSlice says of them."""

import fnmatch
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lightkube.models.resource_v1 import Device, DeviceAttribute


@dataclass(frozen=True)
class Link:
    mac: str
    mtu: int
    driver: str  # of the hardware; of a virtual link its kind: veth, macvlan
    addresses: list[str]  # global ones, as address/prefix


def host_links(pattern: str) -> dict[str, Link]:
    """Links of this network namespace whose name matches and can be a device's name (a DNS label)."""
    shown = subprocess.run(["ip", "-j", "-d", "addr"], capture_output=True, text=True, check=True).stdout
    found = {}
    for link in json.loads(shown):
        name = link["ifname"]
        if fnmatch.fnmatch(name, pattern) and re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name):
            addresses = [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"]
            kind = link.get("linkinfo", {}).get("info_kind") or _hardware_driver(name)
            found[name] = Link(link["address"], link["mtu"], kind, addresses)
    return found


def _hardware_driver(name: str) -> str:
    driver = Path("/sys/class/net", name, "device/driver")
    return driver.resolve().name if driver.exists() else "unknown"


def slice_device(name: str, link: Link) -> Device:
    """A device of a ResourceSlice; the CEL selectors of claims see its attributes."""
    attributes = {
        "interface": DeviceAttribute(string=name),
        "mac": DeviceAttribute(string=link.mac),
        "mtu": DeviceAttribute(int=link.mtu),
        "driver": DeviceAttribute(string=link.driver),
    }
    for address in link.addresses:  # an attribute has one value: the first address of each family
        attributes.setdefault("ipv6" if ":" in address else "ipv4", DeviceAttribute(string=address))
    return Device(name=name, attributes=attributes)
