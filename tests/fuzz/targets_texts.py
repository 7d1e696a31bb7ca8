"""What images, plugins, drivers and pod authors write: accounts, annotations, CDI files, CNI's JSON, references."""

import ipaddress
from collections.abc import Callable, Sequence

import msgspec

from crishim import signals
from crishim.cdi import edits
from crishim.cdi import format as cdi
from crishim.cdi.apply import apply
from crishim.cni import format as cni
from crishim.errors import CrishimError
from crishim.images import records, reference
from crishim.linux import mounts
from crishim.netdev import annotation
from crishim.pb import cri_pb2 as cri
from crishim.spec import accounts, user


def passwd(data: bytes) -> None:
    """Ids are in range, and the account of any name in the file is found."""
    text = data.decode(errors="surrogateescape")
    found = accounts.parse_passwd(text)
    assert all(0 <= a.uid <= accounts.MAX_ID and 0 <= a.gid <= accounts.MAX_ID for a in found)
    for account in found[:4]:
        made = user.resolve(cri.LinuxContainerSecurityContext(), account.name, lambda path: data)
        assert 0 <= made.uid <= accounts.MAX_ID


def group(data: bytes) -> None:
    """Ids are in range, also those of the groups a member has."""
    found = accounts.parse_group(data.decode(errors="surrogateescape"))
    for each in found[:4]:
        for name in each.members[:4]:
            assert all(0 <= gid <= accounts.MAX_ID for gid in accounts.memberships(found, name))


def annotations(data: bytes) -> None:
    """A device annotation gives requests, or is INVALID; so do CDI's annotations."""
    text = data.decode(errors="replace")
    works: list[Callable[[], Sequence[object]]] = [
        lambda: annotation.parse(annotation.POD_KEY, text),
        lambda: cdi.names([], {cdi.ANNOTATION_PREFIX + "x": text}),
    ]
    for work in works:
        try:
            msgspec.json.encode(work())
        except CrishimError as error:
            error.message.encode()


def cdi_json(data: bytes) -> None:
    try:
        raw = cdi.load_json(data)
    except cdi.InvalidSpec:
        return
    _cdi(raw)


def cdi_yaml(data: bytes) -> None:
    try:
        raw = edits._load_yaml(data)
    except cdi.InvalidSpec:
        return
    _cdi(raw)


def _cdi(raw: object) -> None:
    """Names of any file can be told; a valid one's edits can be made to a spec."""
    cdi.device_names(raw)
    try:
        spec = cdi.parse(raw)
    except cdi.InvalidSpec:
        return
    merged = cdi.Edits()
    for each in spec.all_edits:
        merged = cdi.merge(merged, each, "v/c=d")
    try:
        apply({"mounts": [], "process": {"env": ["A=1"], "user": {"uid": 0}}, "linux": {}}, merged)
    except CrishimError:
        return


def cni_config(data: bytes) -> None:
    try:
        network = cni.parse_list(data, "net.conflist")
    except CrishimError:
        return
    for plugin in network.plugins:
        cni.plugin_input(network, plugin, {"portMappings": [{"hostPort": 1}]}, {"cniVersion": "1.0.0"})
    cni.at_least(network.version, (1, 1, 0))


def cni_result(data: bytes) -> None:
    """A result that is let through has addresses that are some."""
    cni.plugin_error(data, "bridge", "ADD")
    try:
        result = cni.parse_result(data, "bridge")
    except CrishimError:
        return
    for address in cni.addresses(result):
        ipaddress.ip_address(address)


def image_reference(data: bytes) -> None:
    try:
        found = reference.parse(data.decode(errors="replace"))
    except CrishimError:
        return
    assert reference.parse(found.name).name == found.name


def stop_signal(data: bytes) -> None:
    try:
        assert 1 <= signals.parse(data.decode(errors="replace")) <= 64
    except CrishimError:
        return


def manifest(data: bytes) -> None:
    records.is_index(data)


def mountinfo(data: bytes) -> None:
    mounts.parse_mountinfo(data.decode(errors="surrogateescape"))


TARGETS = {
    "passwd": passwd,
    "group": group,
    "annotations": annotations,
    "cdi-json": cdi_json,
    "cdi-yaml": cdi_yaml,
    "cni-config": cni_config,
    "cni-result": cni_result,
    "image-reference": image_reference,
    "stop-signal": stop_signal,
    "manifest": manifest,
    "mountinfo": mountinfo,
}
