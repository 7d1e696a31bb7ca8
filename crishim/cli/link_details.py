"""Details of the host's links, for display: parameters of VLANs, VXLANs, bonds, bridges and macvlans; parent device,
virtual functions and devlink port of hardware.

Read by pyroute2, which names all these attributes; in the command's process, as its import takes 10 MB.
"""

from typing import Any

SHOWN = {  # by kind: IFLA_INFO_DATA's attributes, and their names here
    "vlan": {"IFLA_VLAN_ID": "id", "IFLA_VLAN_PROTOCOL": "protocol"},
    "vxlan": {
        "IFLA_VXLAN_ID": "id",
        "IFLA_VXLAN_GROUP": "remote",
        "IFLA_VXLAN_GROUP6": "remote",
        "IFLA_VXLAN_LOCAL": "local",
        "IFLA_VXLAN_LOCAL6": "local",
        "IFLA_VXLAN_PORT": "port",
        "IFLA_VXLAN_LINK": "underlay",
    },
    "bond": {"IFLA_BOND_MODE": "mode", "IFLA_BOND_ACTIVE_SLAVE": "active"},
    "bridge": {"IFLA_BR_VLAN_FILTERING": "vlan_filtering", "IFLA_BR_STP_STATE": "stp"},
    "macvlan": {"IFLA_MACVLAN_MODE": "mode"},
    "macvtap": {"IFLA_MACVTAP_MODE": "mode"},
    "ipvlan": {"IFLA_IPVLAN_MODE": "mode"},
    "vrf": {"IFLA_VRF_TABLE": "table"},
}
LINKS = {"underlay", "active"}  # names whose values are ifindexes
EXT_MASK = 1 | 8  # RTEXT_FILTER_VF, for IFLA_NUM_VF, and RTEXT_FILTER_SKIP_STATS


def read() -> dict[str, dict[str, object]]:
    """The details of the links in this process's network namespace, by name. Raises OSError."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as route:
            messages = list(route.link("dump", ext_mask=EXT_MASK))
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error
    names = {message["index"]: _name(message) for message in messages}
    ports = _devlink_ports()
    return {_name(m): describe(m, names, ports.get(m["index"], "")) for m in messages}


def describe(message: Any, names: dict[int, str], port: str = "") -> dict[str, object]:
    """One link's details. message: pyroute2's ifinfmsg; names: of the links, by ifindex; port: devlink's."""
    found: dict[str, object] = {}
    info: Any = message.get_attr("IFLA_LINKINFO")
    kind = str(info.get_attr("IFLA_INFO_KIND")) if info is not None else ""
    data: Any = info.get_attr("IFLA_INFO_DATA") if kind in SHOWN else None
    for attribute, name in SHOWN[kind].items() if data is not None else ():
        value = data.get_attr(attribute)
        if value is not None:
            found[name] = names.get(value, value) if name in LINKS else value
    lower = message.get_attr("IFLA_LINK")
    if lower in names and kind != "veth" and message.get_attr("IFLA_LINK_NETNSID") is None:
        found["parent"] = names[lower]
    for attribute, name in (("IFLA_PARENT_DEV_NAME", "device"), ("IFLA_PHYS_PORT_NAME", "port")):
        if message.get_attr(attribute):
            found[name] = message.get_attr(attribute)
    if message.get_attr("IFLA_NUM_VF"):
        found["virtual_functions"] = message.get_attr("IFLA_NUM_VF")
    return found | ({"devlink": port} if port else {})


def _devlink_ports() -> dict[int, str]:
    """devlink ports by ifindex, as "pci/0000:03:00.0/1"; {} if the kernel has no devlink."""
    from pyroute2 import DL
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with DL() as devlink:
            return {index: text for m in devlink.get_port_dump() for index, text in port(m)}
    except (OSError, NetlinkError):
        return {}


def port(message: Any) -> list[tuple[int, str]]:
    """The ifindex and devlink's name of a port; [] for a port without a link."""
    index = message.get_attr("DEVLINK_ATTR_PORT_NETDEV_IFINDEX")
    parts = ("DEVLINK_ATTR_BUS_NAME", "DEVLINK_ATTR_DEV_NAME", "DEVLINK_ATTR_PORT_INDEX")
    return [(index, "/".join(str(message.get_attr(part)) for part in parts))] if index else []


def text(details: dict[str, object]) -> str:
    """Details for a table: "id 42, remote 192.0.2.1, underlay eth0"."""
    return ", ".join(f"{name} {value}" for name, value in details.items())


def _name(message: Any) -> str:
    """A link's name as in the daemon's messages: it may be any bytes."""
    name = message.get_attr("IFLA_IFNAME")
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)
