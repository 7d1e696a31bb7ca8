"""The devices a container requests, by CDI names and annotations. The netdev driver moves them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from crishim.cdi.edits import Edits, names
from crishim.engine.runtime import Runtime, moves_devices
from crishim.errors import CrishimError, Kind
from crishim.linux import executors
from crishim.model import PodRecord
from crishim.netdev.annotation import requests as annotated
from crishim.netdev.plan import Plan
from crishim.netdev.records import DeviceRequest, Mover, Source
from crishim.node import Node
from crishim.operations.nri_creation import Adjusted
from crishim.operations.stop_pod import device_pod
from crishim.pb import cri_pb2 as cri

HOOKS_IN_CREATE = ("prestart", "createRuntime", "createContainer")  # config.md, "POSIX-platform Hooks"


class Wanted(msgspec.Struct, frozen=True):
    """The devices a container's configuration requests."""

    edits: Edits
    network: tuple[DeviceRequest, ...]


async def wanted_devices(node: Node, pod: PodRecord, config: cri.ContainerConfig) -> Wanted:
    """Resolve CDI names and read annotations. Raises NOT_FOUND for an undefined CDI name, INVALID for bad JSON."""
    fields, marked = [d.name for d in config.CDI_devices], dict(config.annotations)
    cdi_names = names(fields, marked) if fields or any(k.startswith("cdi.k8s.io/") for k in marked) else []
    edits = await executors.records(node.cdi.resolve, cdi_names) if cdi_names else Edits()
    from_cdi = [DeviceRequest(device=d, name=n, source=Source.CDI, origin=by) for d, n, by in edits.net_devices]
    pod_annotations = dict(pod.parse_config().annotations)
    return Wanted(edits, (*from_cdi, *annotated(pod_annotations, dict(config.annotations))))


async def plan_devices(
    node: Node, pod: PodRecord, adjusted: Adjusted, spec: Mapping[str, Any], runtime: Runtime | None
) -> Plan:
    """Check and lease the network devices; no link is changed yet. spec: config.json without linux.netDevices.

    runtime: the one whose create follows; None if none does, so that we move the devices.
    """
    mover = Mover.BUILTIN
    if adjusted.network and runtime is not None:
        mover = await _mover(node, runtime, spec.get("hooks") or {})
    try:
        return await node.netdevices.plan(adjusted.network, device_pod(pod), mover)
    except CrishimError as error:
        raise adjusted.named(error) from error


async def return_devices(node: Node, pod: PodRecord, plan: Plan) -> None:
    """Return the devices of a container whose creation failed after they were verified."""
    for attachment in plan.new:
        await node.netdevices.detach(device_pod(pod), attachment.host.name)


async def _mover(node: Node, runtime: Runtime, hooks: Mapping[str, Any]) -> Mover:
    """Who moves the devices: the OCI runtime if it can, unless hooks would see them before they are repaired."""
    handler = node.config.runtimes.handlers.get(runtime.name)
    choice = handler.netdevices if handler else "auto"
    capable = choice != "builtin" and moves_devices(await runtime.features())
    if choice == "runtime" and not capable:
        raise CrishimError(
            Kind.PRECONDITION,
            f"handler {runtime.name} is told to move network devices, but {runtime.path} does not say it can",
        )
    watched = any(hooks.get(name) for name in HOOKS_IN_CREATE)
    return Mover.RUNTIME if capable and not watched else Mover.BUILTIN
