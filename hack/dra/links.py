"""Host links as devices of a ResourceSlice."""

import fnmatch
import json
import re
import subprocess
from typing import Any

Link = dict[str, Any]


def host_links(pattern: str) -> dict[str, Link]:
    """Links of this network namespace whose name matches, by device name: MAC, MTU, kind, addresses."""
    shown = subprocess.run(["ip", "-j", "-d", "addr"], capture_output=True, text=True, check=True).stdout
    found = {}
    for link in json.loads(shown):
        name = link["ifname"]
        if fnmatch.fnmatch(name, pattern) and re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name):
            addresses = [a for a in link["addr_info"] if a["scope"] == "global"]
            found[name] = {
                "mac": link["address"],
                "mtu": link["mtu"],
                "kind": link.get("linkinfo", {}).get("info_kind", "physical"),
                "addresses": [f"{a['local']}/{a['prefixlen']}" for a in addresses],
            }
    return found


def slice_device(name: str, link: Link) -> dict[str, Any]:
    """A device of resource.k8s.io/v1; its attributes are what a claim's CEL selectors see."""
    attributes: dict[str, Any] = {
        "interface": {"string": name},
        "mac": {"string": link["mac"]},
        "mtu": {"int": link["mtu"]},
        "kind": {"string": link["kind"]},
    }
    for family, sign in (("ipv4", "."), ("ipv6", ":")):
        for address in link["addresses"]:
            if sign in address:
                attributes.setdefault(family, {"string": address})
    return {"name": name, "attributes": attributes}


def cdi_spec(kind: str, devices: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """A CDI 1.1 file: device name: (host link, name in the pod)."""
    entries = [
        {"name": device, "containerEdits": {"netDevices": [{"hostInterfaceName": link, "name": name}]}}
        for device, (link, name) in devices.items()
    ]
    return {"cdiVersion": "1.1.0", "kind": kind, "devices": entries, "containerEdits": {}}
