"""NRI's CreateContainer: ask the plugins, and apply their adjustments to config.json.

spec built, CDI edits of the request in it -> plugins asked, result validated -> CDI devices of the result resolved
-> spec changed; network devices join those of the request, and are leased, moved and returned like them
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from crishim.cdi.edits import Edits, apply
from crishim.errors import CrishimError, Kind
from crishim.linux import executors
from crishim.model import ContainerRecord, PodRecord
from crishim.netdev.records import DeviceRequest, Source
from crishim.node import Node
from crishim.nri.plugins import Changes, Creation
from crishim.operations.launch import Drafted
from crishim.operations.nri_messages import container_message, pod_message
from crishim.pb import cri_pb2 as cri
from crishim.pb import nri_pb2 as nri
from crishim.pb.nri import fields_pb2 as fields
from crishim.spec.inputs import Draft
from crishim.spec.nri_adjustment import adjust, removed
from crishim.spec.nri_resources import to_cri
from crishim.spec.resources import merge

FIELDS: Final = {  # NRI's number of the field an error names, for its owner
    "hooks": fields.OciHooks,
    "mounts": fields.Mounts,
    "rlimits": fields.Rlimits,
    "CDI_devices": fields.CdiDevices,
    "linux.cgroups_path": fields.CgroupsPath,
    "linux.memory_policy": fields.MemoryPolicy,
    "linux.namespaces": fields.Namespace,
    "linux.net_devices": fields.LinuxNetDevices,
    "linux.seccomp_policy": fields.SeccompPolicy,
    "linux.resources.blockio_class": fields.BlockioClass,
    "linux.resources.rdt_class": fields.RdtClass,
    "linux.resources.hugepage_limits": fields.HugepageLimits,
    "linux.resources.unified": fields.CgroupsUnified,
    "linux.resources.cpu.shares": fields.CPUShares,
    "linux.resources.cpu.period": fields.CPUPeriod,
    "linux.resources.cpu.realtime_period": fields.CPURealtimePeriod,
    "linux.resources.memory.kernel": fields.MemKernelLimit,
    "linux.resources.memory.kernel_tcp": fields.MemTCPLimit,
    "linux.resources.memory.swap": fields.MemSwapLimit,
    "linux.resources.memory.swappiness": fields.MemSwappiness,
    "linux.resources.memory.disable_oom_killer": fields.MemDisableOomKiller,
    "linux.resources.memory.use_hierarchy": fields.MemUseHierarchy,
}


NONE: Final = Changes()


@dataclass(frozen=True)
class Adjusted:
    """A container after the plugins' adjustments; the spec itself was changed in place."""

    network: tuple[DeviceRequest, ...]  # the request's devices, less those removed, then plugins'
    resources: cri.LinuxContainerResources  # the request's, merged with the plugins'
    changes: Changes = NONE  # to other containers, to be applied without locks
    owners: Mapping[str, str] | None = None  # plugin by network device

    def named(self, error: CrishimError) -> CrishimError:
        """The error, with the plugin that added the network device it is about."""
        device = error.facts.get("device", "")
        if not self.owners or device not in self.owners:
            return error
        text = f"NRI plugin {self.owners[str(device)]}: adjustment linux.net_devices: {error.message}"
        return CrishimError(error.kind, text, **error.facts)


async def adjust_container(
    node: Node, pod: PodRecord, container: ContainerRecord, drafted: Drafted, network: tuple[DeviceRequest, ...]
) -> Adjusted:
    """Ask the plugins and change the spec. To be called inside node.nri.requests().

    Raises CrishimError, naming plugin and field, if a plugin refuses, two conflict, a validator rejects the result, or
    it cannot be applied.
    """
    config = container.parse_config()
    if not node.nri.active:
        return Adjusted(network, config.linux.resources)
    await node.containers.update(container.id, lambda c: replace(c, announced=True))
    message = container_message(container, drafted.built.spec)
    for request in network:
        message.linux.net_devices[request.device].name = request.name
    creation = await node.nri.create_container(pod_message(node, pod), message)
    adjustment = creation.adjustment
    edits = await _resolve(node, creation)
    wanted = _network(network, edits, creation)
    await _change(node, pod, container, drafted, creation, edits)
    resources = merge(config.linux.resources, to_cri(adjustment.linux.resources))
    if adjustment.linux.HasField("oom_score_adj"):
        resources.oom_score_adj = adjustment.linux.oom_score_adj.value
    owners = creation.owners.compound[fields.LinuxNetDevices].owners
    return Adjusted(wanted, resources, creation.changes, dict(owners))


async def _resolve(node: Node, creation: Creation) -> Edits:
    names = [device.name for device in creation.adjustment.CDI_devices]
    if not names:
        return Edits()
    try:
        return await executors.records(node.cdi.resolve, names)
    except CrishimError as error:
        kind = Kind.PRECONDITION if error.kind is Kind.NOT_FOUND else error.kind  # not found: pod or image, to kubelets
        text = f"CDI_devices cannot be applied: {error.message}"
        failure = CrishimError(kind, text, field="CDI_devices", key=error.facts.get("device", ""))
        raise named(failure, creation.owners) from error


def _network(requested: tuple[DeviceRequest, ...], edits: Edits, creation: Creation) -> tuple[DeviceRequest, ...]:
    devices = creation.adjustment.linux.net_devices
    owners = creation.owners.compound[fields.LinuxNetDevices].owners
    replaced = {removed(device) for device in devices} | {device for device in devices if not removed(device)}
    kept = [request for request in requested if request.device not in replaced]
    by_cdi = [DeviceRequest(device=d, name=n, source=Source.CDI, origin=by) for d, n, by in edits.net_devices]
    by_plugin = [
        DeviceRequest(device=device, name=value.name, source=Source.NRI, origin=owners.get(device, ""))
        for device, value in sorted(devices.items())
        if not removed(device)
    ]
    return (*kept, *by_cdi, *by_plugin)


async def _change(
    node: Node, pod: PodRecord, container: ContainerRecord, drafted: Drafted, creation: Creation, edits: Edits
) -> None:
    draft = Draft(spec=drafted.built.spec)

    def change() -> None:
        adjust(draft, drafted.inputs, creation.adjustment, lambda spec: apply(spec, edits))

    try:
        await node.paths.run(pod.id, change)
    except CrishimError as error:
        raise named(error, creation.owners) from error
    node.launcher.say_once(draft.notes, container.id)


def named(error: CrishimError, owners: nri.FieldOwners) -> CrishimError:
    """The error, with the plugins that set its field."""
    name = str(error.facts.get("field", ""))
    field = FIELDS.get(name, FIELDS.get(name.partition(".")[0]))
    if field is None:
        return error
    keys = owners.compound[field].owners if field in owners.compound else {}
    key = str(error.facts.get("key", ""))
    plugins = [keys[key]] if key in keys else sorted(set(keys.values())) or [owners.simple.get(field, "")]
    text = f"NRI plugin {', '.join(filter(None, plugins))}: adjustment {error.message}"
    return CrishimError(error.kind, text, **error.facts)
