"""Host links, and what a ResourceSlice says of them."""

import fnmatch
import json
import re
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from lightkube.models.resource_v1 import Device, DeviceAttribute

PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")  # domain:bus:device.function, as lspci -D prints it
SYSFS = Path("/sys")


@dataclass(frozen=True)
class Link:
    mac: str
    mtu: int
    driver: str  # of the hardware; of a virtual link its kind: veth, macvlan
    addresses: list[str]  # global ones, as address/prefix
    pci: str = ""  # where the hardware is, "" where it is not on PCI
    physical: str = ""  # of an SR-IOV virtual function: where its physical one is


def host_links(pattern: str, physical: Collection[str] = ()) -> dict[str, Link]:
    """Links of this network namespace whose name matches and can be a device's name (a DNS label).

    physical: PCI addresses of physical functions; then their virtual functions alone.
    """
    shown = subprocess.run(["ip", "-j", "-d", "addr"], capture_output=True, text=True, check=True).stdout
    return select(json.loads(shown), pattern, physical)


def select(shown: list[dict[str, object]], pattern: str, physical: Collection[str] = ()) -> dict[str, Link]:
    """host_links() of what `ip -j -d addr` says."""
    found = {}
    for link in shown:
        name = str(link["ifname"])
        if fnmatch.fnmatch(name, pattern) and re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name):
            made = _link(name, link)
            if not physical or made.physical in physical:
                found[name] = made
    return found


def _link(name: str, said: dict[str, object]) -> Link:
    info, device = said.get("linkinfo"), SYSFS / "class/net" / name / "device"
    kind = info.get("info_kind") if isinstance(info, dict) else None
    entries = said["addr_info"]
    assert isinstance(entries, list)
    addresses = [f"{a['local']}/{a['prefixlen']}" for a in entries if a["scope"] == "global"]
    driver = str(kind or _end(device / "driver") or "unknown")
    mtu = said["mtu"]
    assert isinstance(mtu, int)
    return Link(str(said["address"]), mtu, driver, addresses, _pci(device), _pci(device / "physfn"))


def _end(link: Path) -> str:
    """The name of what a symbolic link leads to; "" if there is none."""
    return link.resolve().name if link.exists() else ""


def _pci(device: Path) -> str:
    address = _end(device)
    return address if PCI.fullmatch(address) else ""


def slice_device(name: str, link: Link) -> Device:
    """A device of a ResourceSlice; the CEL selectors of claims see its attributes."""
    attributes = {
        "interface": DeviceAttribute(string=name),
        "mac": DeviceAttribute(string=link.mac),
        "mtu": DeviceAttribute(int=link.mtu),
        "driver": DeviceAttribute(string=link.driver),
    }
    for key, where in (("pciAddress", link.pci), ("physicalFunction", link.physical)):
        if where:
            attributes[key] = DeviceAttribute(string=where)
    for address in link.addresses:  # an attribute has one value: the first address of each family
        attributes.setdefault("ipv6" if ":" in address else "ipv4", DeviceAttribute(string=address))
    return Device(name=name, attributes=attributes)
