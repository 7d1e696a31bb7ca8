"""CNI's JSON: configuration lists, and a plugin's input, result and error. CNI specification 1.1.

Sections: 1 configuration format, 2 execution protocol, 4 delegation, 5 result types.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from crishim.decoding import NOT_JSON
from crishim.errors import CrishimError, Kind

IFNAME = "eth0"
TRY_AGAIN_LATER = 11  # well-known error code, section 2


class NetworkList(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration list: a named chain of plugins."""

    name: str
    version: str  # cniVersion
    plugins: tuple[dict[str, Any], ...]
    disable_check: bool = False
    raw: bytes = b""  # the JSON it came from

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(p["type"] for p in self.plugins)


def parse_list(raw: bytes, where: str) -> NetworkList:
    """A network list from a .conflist, or from the older .conf with one plugin. INVALID names file and fault."""

    def bad(what: str) -> CrishimError:
        return CrishimError(Kind.INVALID, f"CNI configuration {where}: {what}", path=where)

    try:
        data = msgspec.json.decode(raw)
    except NOT_JSON as error:
        raise bad(f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise bad("not a JSON object")
    name = data.get("name")
    if not isinstance(name, str) or not name or "/" in name or name in (".", ".."):
        raise bad("it has no usable name")
    plugins = data.get("plugins", [data])
    if not isinstance(plugins, list) or not plugins:
        raise bad("plugins is not a list with at least one plugin")
    for plugin in plugins:
        kind = plugin.get("type") if isinstance(plugin, dict) else None
        if not isinstance(kind, str) or not kind or "/" in kind:
            raise bad("a plugin has no usable type")
        if not isinstance(plugin.get("capabilities", {}), dict):
            raise bad(f"the capabilities of plugin {kind} are not an object")
    version = data.get("cniVersion", "0.2.0")
    if not isinstance(version, str):
        raise bad("cniVersion is not a string")
    return NetworkList(
        name=name,
        version=version,
        plugins=tuple(plugins),
        disable_check=data.get("disableCheck") in (True, "true"),
        raw=raw,
    )


def at_least(version: str, wanted: tuple[int, int, int]) -> bool:
    """Whether a cniVersion is `wanted` or newer; what is no version counts as the oldest."""
    try:
        return tuple(int(n) for n in version.split("-")[0].split(".")) >= wanted
    except ValueError:
        return False


def plugin_input(
    network: NetworkList, plugin: Mapping[str, Any], capability_args: Mapping[str, Any], previous: Any | None
) -> bytes:
    """The configuration one plugin of the chain reads on its standard input (section 4, "deriving execution
    configuration"): name and version of the list, runtimeConfig for the capabilities it declares, prevResult."""
    derived = {k: v for k, v in plugin.items() if k != "capabilities"}
    derived |= {"name": network.name, "cniVersion": network.version}
    declared = [name for name, wanted in plugin.get("capabilities", {}).items() if wanted]
    runtime_config = {name: capability_args[name] for name in declared if capability_args.get(name)}
    if runtime_config:
        derived["runtimeConfig"] = runtime_config
    if previous is not None:
        derived["prevResult"] = previous
    return msgspec.json.encode(derived)


def plugin_error(stdout: bytes, plugin: str, command: str) -> CrishimError | None:
    """The error object a failing plugin printed, as an exception; None if it printed none."""
    try:
        data = msgspec.json.decode(stdout)
    except NOT_JSON:
        return None
    if not isinstance(data, dict) or not data.get("msg"):
        return None
    text = str(data["msg"]) + (f"; {data['details']}" if data.get("details") else "")
    kind = Kind.UNAVAILABLE if data.get("code") == TRY_AGAIN_LATER else Kind.INTERNAL
    return CrishimError(kind, f"CNI plugin {plugin} failed to {command}: {text}", plugin=plugin, code=data.get("code"))


def parse_result(stdout: bytes, plugin: str) -> dict[str, Any]:
    """A plugin's ADD result. INTERNAL if it is no JSON object, or its interfaces or addresses are malformed."""
    try:
        data = msgspec.json.decode(stdout)
    except NOT_JSON:
        data = None
    if not isinstance(data, dict):
        raise CrishimError(Kind.INTERNAL, f"CNI plugin {plugin} answered no JSON object", plugin=plugin)
    try:
        for ip in addresses(data):
            ipaddress.ip_address(ip)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        text = f"CNI plugin {plugin} answered interfaces or addresses that are none: {error}"
        raise CrishimError(Kind.INTERNAL, text, plugin=plugin) from None
    return data


def addresses(result: Mapping[str, Any], ifname: str = IFNAME) -> tuple[str, ...]:
    """The addresses, without prefix, a result gives `ifname` inside the sandbox, in its order (section 5).

    An address that names no interface belongs to the container. Before 0.3.0 a result had ip4 and ip6 instead of ips.
    For results that parse_result() accepts.
    """
    interfaces: Sequence[Mapping[str, Any]] = result.get("interfaces") or []
    found = []
    for entry in result.get("ips") or []:
        index = entry.get("interface")
        if isinstance(index, int) and 0 <= index < len(interfaces):
            interface = interfaces[index]
            if interface.get("name") != ifname or not interface.get("sandbox"):
                continue
        found.append(str(entry.get("address", "")).partition("/")[0])
    for family in ("ip4", "ip6"):
        if isinstance(result.get(family), dict):
            found.append(str(result[family].get("ip", "")).partition("/")[0])
    return tuple(dict.fromkeys(a for a in found if a))
