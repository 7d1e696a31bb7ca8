"""Container Device Interface 1.1: parses the file format and checks its names and version rules. No I/O.

Source: SPEC.md and specs-go of tags.cncf.io/container-device-interface (1.1.0). The reader is strict, as the reference
implementation is: an unknown field makes a file invalid, and so does a field its cdiVersion does not have yet.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from crishim.errors import CrishimError, Kind

ANNOTATION_PREFIX = "cdi.k8s.io/"
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
MAX_NODES = 100_000
HOOKS = Literal["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]

_VENDOR = re.compile(r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")  # class names, too
_DEVICE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?")
_PERMISSIONS = re.compile(r"none|[rwm]*")


class InvalidSpec(Exception):
    """A CDI file that must be ignored; the text is one sentence without the file's name."""


class _Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel", omit_defaults=True):
    pass


class DeviceNode(_Shape, frozen=True, kw_only=True):
    path: str  # in the container
    host_path: str = ""
    type: Literal["", "b", "c", "u", "p"] = ""
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    permissions: str = ""  # of r, w, m; "none"
    uid: int | None = None
    gid: int | None = None


class NetDevice(_Shape, frozen=True, kw_only=True):
    host_interface_name: str
    name: str


class Mount(_Shape, frozen=True, kw_only=True):
    host_path: str
    container_path: str
    options: tuple[str, ...] = ()
    type: str = ""


class Hook(_Shape, frozen=True, kw_only=True):
    hook_name: HOOKS
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None  # seconds


class IntelRdt(_Shape, frozen=True, kw_only=True):
    clos_id: str = msgspec.field(default="", name="closID")
    l3_cache_schema: str = msgspec.field(default="", name="l3CacheSchema")
    mem_bw_schema: str = ""
    schemata: tuple[str, ...] | None = None
    enable_monitoring: bool = False


class ContainerEdits(_Shape, frozen=True, kw_only=True):
    env: tuple[str, ...] = ()
    device_nodes: tuple[DeviceNode, ...] = ()
    net_devices: tuple[NetDevice, ...] = ()
    hooks: tuple[Hook, ...] = ()
    mounts: tuple[Mount, ...] = ()
    intel_rdt: IntelRdt | None = None
    additional_gids: tuple[int, ...] = ()


class Device(_Shape, frozen=True, kw_only=True):
    name: str
    annotations: dict[str, str] = {}
    container_edits: ContainerEdits


class CdiSpec(_Shape, frozen=True, kw_only=True):
    """One CDI file. kind: vendor/class."""

    cdi_version: str
    kind: str
    annotations: dict[str, str] = {}
    devices: tuple[Device, ...]
    container_edits: ContainerEdits = ContainerEdits()

    @property
    def all_edits(self) -> tuple[ContainerEdits, ...]:
        return (self.container_edits, *(d.container_edits for d in self.devices))


class Edits(msgspec.Struct, frozen=True, kw_only=True):
    """The containerEdits of all devices a container asks for, in the order to apply them."""

    env: tuple[str, ...] = ()
    device_nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[Mount, ...] = ()
    hooks: tuple[Hook, ...] = ()
    gids: tuple[int, ...] = ()
    intel_rdt: IntelRdt | None = None  # the last one wins
    net_devices: tuple[tuple[str, str, str], ...] = ()  # (host name, name in the pod, CDI device that asks)


def merge(first: Edits, more: ContainerEdits, device: str) -> Edits:
    """Append the edits of one more device, or of its file."""
    return Edits(
        env=first.env + more.env,
        device_nodes=first.device_nodes + more.device_nodes,
        mounts=first.mounts + more.mounts,
        hooks=first.hooks + more.hooks,
        gids=tuple(dict.fromkeys(first.gids + more.additional_gids)),
        intel_rdt=more.intel_rdt or first.intel_rdt,
        net_devices=first.net_devices + tuple((n.host_interface_name, n.name, device) for n in more.net_devices),
    )


def is_qualified(name: str) -> bool:
    """Whether a name is VENDOR/CLASS=DEVICE (SPEC.md, "Kind" and "devices")."""
    kind, equals, device = name.partition("=")
    vendor, slash, of_class = kind.partition("/")
    well_formed = _VENDOR.fullmatch(vendor) and _VENDOR.fullmatch(of_class) and _DEVICE.fullmatch(device)
    return bool(equals and slash and well_formed)


def names(fields: Sequence[str], annotations: Mapping[str, str]) -> list[str]:
    """Qualified device names of a container: CDI_devices first, then cdi.k8s.io/ annotations, without duplicates.

    Raises INVALID for a name that is not VENDOR/CLASS=DEVICE, naming the field or annotation.
    """
    found: dict[str, None] = {}
    for place, name in _asked(fields, annotations):
        if not is_qualified(name):
            raise CrishimError(Kind.INVALID, f"{name!r} in {place} is no CDI device name (vendor.com/class=device)")
        found[name] = None
    return list(found)


def _asked(fields: Sequence[str], annotations: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in fields:
        yield "CDI_devices", name
    for key in sorted(k for k in annotations if k.startswith(ANNOTATION_PREFIX)):
        for name in annotations[key].split(","):
            yield f"annotation {key}", name


def load_json(data: bytes) -> object:
    """Raises InvalidSpec."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidSpec(f"is not JSON: {error}") from None


def device_names(raw: object) -> list[str]:
    """Qualified names that a file defines, also an invalid one; for error texts."""
    if not isinstance(raw, dict) or not isinstance(raw.get("devices"), list):
        return []
    return [f"{raw.get('kind')}={d.get('name')}" for d in raw["devices"] if isinstance(d, dict)]


def parse(raw: object) -> CdiSpec:
    """A Spec from decoded JSON or YAML. Raises InvalidSpec."""
    try:
        spec = msgspec.convert(_without_nulls(raw, [MAX_NODES]), CdiSpec)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidSpec(f"is not as CDI describes it: {error}") from None
    for check in CHECKS:
        problem = check(spec)
        if problem:
            raise InvalidSpec(problem)
    return spec


def _without_nulls(raw: object, left: list[int]) -> object:
    """Remove null members: an empty "containerEdits:" in YAML is null.

    left: how many more values are allowed; an alias in YAML counts as its value.
    """
    left[0] -= 1
    if left[0] < 0:
        raise InvalidSpec(f"has more than {MAX_NODES} values")
    if isinstance(raw, str):
        return _text(raw)
    if isinstance(raw, dict):
        found = ((key, value) for key, value in raw.items() if value is not None)
        return {_without_nulls(key, left): _without_nulls(value, left) for key, value in found}
    return [_without_nulls(value, left) for value in raw] if isinstance(raw, list) else raw


def _text(value: str) -> str:
    """Refuse a lone surrogate, which JSON can hold and UTF-8 cannot."""
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise InvalidSpec(f"has a string that is no text: {value!r}")
    return value


def _version(spec: CdiSpec) -> str:
    version = spec.cdi_version.removeprefix("v")
    if version not in VERSIONS:
        return f"has cdiVersion {spec.cdi_version}, which is not known here (at most {VERSIONS[-1]})"
    for needed, field in _needs(spec):
        if VERSIONS.index(version) < VERSIONS.index(needed):
            return f"has cdiVersion {spec.cdi_version}, but {field} needs {needed}"
    return ""


def _needs(spec: CdiSpec) -> Iterator[tuple[str, str]]:
    """(version, field) of each field that needs more than 0.3.0."""
    for edits in spec.all_edits:
        rdt = edits.intel_rdt
        if edits.net_devices:
            yield "1.1.0", "netDevices"
        if rdt is not None and (rdt.schemata is not None or rdt.enable_monitoring):
            yield "1.1.0", "intelRdt.schemata or enableMonitoring"
        if rdt is not None:
            yield "0.7.0", "intelRdt"
        if edits.additional_gids:
            yield "0.7.0", "additionalGids"
        if any(node.host_path for node in edits.device_nodes):
            yield "0.5.0", "deviceNodes.hostPath"
        if any(mount.type for mount in edits.mounts):
            yield "0.4.0", "mounts.type"
    if spec.annotations or any(d.annotations for d in spec.devices):
        yield "0.6.0", "annotations"
    if "." in spec.kind.partition("/")[2]:
        yield "0.6.0", "a dot in the class"
    if any(d.name[:1].isdigit() for d in spec.devices):
        yield "0.5.0", "a device name that begins with a digit"


def _names(spec: CdiSpec) -> str:
    vendor, _, of_class = spec.kind.partition("/")
    if not _VENDOR.fullmatch(vendor) or not _VENDOR.fullmatch(of_class):
        return f"has the kind {spec.kind!r}, which is not vendor/class"
    bad = [d.name for d in spec.devices if not _DEVICE.fullmatch(d.name)]
    if bad:
        return f"has a device with the name {bad[0]!r}"
    known = [d.name for d in spec.devices]
    twice = [name for name in known if known.count(name) > 1]
    if twice:
        return f"defines the device {twice[0]} twice"
    return "" if known else "defines no devices"


def _empty(spec: CdiSpec) -> str:
    empty = [d.name for d in spec.devices if d.container_edits == ContainerEdits()]
    return f"defines the device {empty[0]} without any edit" if empty else ""


def _env(spec: CdiSpec) -> str:
    variables = [v for e in spec.all_edits for v in (*e.env, *(x for h in e.hooks for x in h.env))]
    bad = [v for v in variables if "=" not in v[1:]]
    return f"has the environment variable {bad[0]!r}" if bad else ""


def _paths(spec: CdiSpec) -> str:
    for edits in spec.all_edits:
        if not all(n.path for n in edits.device_nodes) or not all(h.path for h in edits.hooks):
            return "has a device node or a hook without a path"
        if not all(m.host_path and m.container_path for m in edits.mounts):
            return "has a mount without a path"
        if not all(n.host_interface_name and n.name for n in edits.net_devices):
            return "has a network device without a name"
    return ""


def _values(spec: CdiSpec) -> str:
    for edits in spec.all_edits:
        bad = [n for n in edits.device_nodes if not _PERMISSIONS.fullmatch(n.permissions)]
        if bad:
            return f"has the permissions {bad[0].permissions!r} for {bad[0].path}"
        if any(not 0 <= gid < 1 << 32 for gid in edits.additional_gids):
            return "has an additional group id that is none"
        closid = edits.intel_rdt.clos_id if edits.intel_rdt else ""
        if closid in (".", "..") or len(closid) >= 4096 or (closid != "/" and re.search(r"[/\n]", closid)):
            return f"has the closID {closid!r}"
    return ""


CHECKS: tuple[Callable[[CdiSpec], str], ...] = (_version, _names, _empty, _env, _paths, _values)


def builtins(shape: _Shape) -> dict[str, Any]:
    """One part as a dict with CDI's field names, as in JSON."""
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(shape))
    return made
