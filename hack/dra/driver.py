"""An example DRA driver: host links that match a pattern, given to pods through CDI and linux.netDevices. With
--physical-function ADDRESS it offers the SR-IOV virtual functions of that one, whatever they are called.

It never touches a link. It publishes what there is (a ResourceSlice), answers NodePrepareResources by writing a CDI 1.1
file that names the link, and reports in the claim's status what the pod will have. The container runtime moves the
device in and back. With --nri SOCKET it is an NRI plugin as well, and moves them itself, as DRANET does (mover.py).
(KEP-4381; k8s.io/kubelet pkg/apis/dra/v1)

usage: python -m hack.dra.driver --kubeconfig FILE --node NAME --pattern 'dev*' --cdi-dir DIR --kubelet-dir DIR
"""

import argparse
import asyncio
import logging
import signal
import threading
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx2
from lightkube import Client, KubeConfig
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.models.resource_v1 import (
    AllocatedDeviceStatus,
    DeviceAllocationConfiguration,
    DeviceRequestAllocationResult,
    NetworkDeviceData,
    ResourceClaimStatus,
    ResourcePool,
    ResourceSliceSpec,
)
from lightkube.resources.resource_v1 import ResourceClaim, ResourceSlice

from hack.dra.links import PCI, Link, host_links, slice_device
from hack.dra.mover import stay_connected
from hack.dra.moves import Moves
from hack.dra.prepared import Given, Prepared

DRIVER = "netdevices.crishim.io"
dra, dra_services = grpc.protos_and_services("hack/dra/dra.proto")
registration, registration_services = grpc.protos_and_services("hack/dra/registration.proto")
log = logging.getLogger("dra")


class Driver:
    def __init__(
        self, api: Client, node: str, pattern: str, prepared: Prepared, physical: Collection[str] = ()
    ) -> None:
        """pattern, physical: which links are offered, as host_links() takes them."""
        self.api, self.node, self.pattern, self.physical = api, node, pattern, physical
        self.prepared = prepared
        self.devices: dict[str, Link] = {}  # what is published
        self._generation = 0
        self._lock = threading.Lock()  # a claim is prepared before a look at the links, or after it

    # --- what there is ------------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Publish the links that are there, and those that prepared claims hold: they are in pods, or will be.

        Nothing is written if nothing changed; if somebody deleted the slice, it comes back.
        """
        with self._lock:
            held = {name: given.link for name, given in self.prepared.all().items()}
            devices = host_links(self.pattern, self.physical) | held
        if devices != self.devices or not self._generation:
            self.devices = devices
            self._generation = time.time_ns() // 1_000_000  # it must grow with each change, over restarts, too
            log.info("publishing %s", sorted(devices))
        spec = ResourceSliceSpec(
            driver=DRIVER,
            nodeName=self.node,
            pool=ResourcePool(name=self.node, generation=self._generation, resourceSliceCount=1),
            devices=[slice_device(name, link) for name, link in sorted(devices.items())],
        )
        self.api.apply(ResourceSlice(metadata=ObjectMeta(name=f"{self.node}-{DRIVER}"), spec=spec), force=True)

    # --- DRAPlugin ----------------------------------------------------------------------------------------------------

    def NodePrepareResources(self, request: Any, _: grpc.ServicerContext) -> Any:
        response = dra.NodePrepareResourcesResponse()
        for claim in request.claims:
            try:
                response.claims[claim.uid].devices.extend(self._prepare(claim.namespace, claim.name, claim.uid))
            except (OSError, ValueError, httpx2.HTTPError) as error:
                log.warning("claim %s/%s: %s", claim.namespace, claim.name, error)
                response.claims[claim.uid].error = str(error)
        return response

    def _prepare(self, namespace: str, name: str, uid: str) -> list[Any]:
        """Write the claim's CDI file and its status. The same claim may come again: both are the same then."""
        claim = self.api.get(ResourceClaim, name, namespace=namespace)
        if not claim.metadata or claim.metadata.uid != uid:
            raise ValueError("another claim has taken this name")
        if not claim.status or not claim.status.allocation or not claim.status.allocation.devices:
            raise ValueError("it is not allocated")
        allocated = claim.status.allocation.devices
        results = [result for result in allocated.results or [] if result.driver == DRIVER]
        pod = claim.status.reservedFor[0].uid if claim.status.reservedFor else ""
        with self._lock:
            given = self.prepared.of(uid) or self._give(results, allocated.config or [], pod)
            self.prepared.write(uid, given)
        self._report(namespace, name, uid, results, given)
        log.info("claim %s/%s: %s", namespace, name, {device: g.interface for device, g in given.items()})
        return [
            dra.Device(request_names=[result.request], pool_name=result.pool, device_name=result.device,
                       cdi_device_ids=self.prepared.ids(uid, result.device))
            for result in results
        ]  # fmt: skip

    def _give(
        self, results: list[DeviceRequestAllocationResult], config: list[DeviceAllocationConfiguration], pod: str
    ) -> dict[str, Given]:
        """The links of a claim with their names in the pod: what its parameters say, else the next free of net1, ..."""
        taken = {given.interface for given in self.prepared.all().values() if given.pod == pod}
        devices: dict[str, Given] = {}
        for result in results:
            if result.device not in self.devices:
                raise ValueError(f"the link {result.device} is not on this node any more")
            interface = parameter("interface", config, result.request)
            if not interface:
                interface = next(name for n in range(1, 1000) if (name := f"net{n}") not in taken)
            taken.add(interface)
            devices[result.device] = Given(self.devices[result.device], interface, pod)
        return devices

    def _report(
        self, namespace: str, name: str, uid: str, results: list[DeviceRequestAllocationResult], given: dict[str, Given]
    ) -> None:
        """Write what the pod will have into the claim's status; the device is not in it yet."""
        devices = []
        for result in results:
            device = given[result.device]
            link = device.link
            data = NetworkDeviceData(interfaceName=device.interface, ips=link.addresses[:16], hardwareAddress=link.mac)
            devices.append(
                AllocatedDeviceStatus(driver=DRIVER, pool=result.pool, device=result.device, networkData=data)
            )
        metadata = ObjectMeta(name=name, namespace=namespace, uid=uid)
        status = ResourceClaim.Status(metadata=metadata, status=ResourceClaimStatus(devices=devices))
        self.api.apply(status, name, namespace=namespace, force=True)

    def NodeUnprepareResources(self, request: Any, _: grpc.ServicerContext) -> Any:
        """The pod's sandbox is stopped by now, and the runtime gave the device back."""
        response = dra.NodeUnprepareResourcesResponse()
        for claim in request.claims:
            with self._lock:
                self.prepared.remove(claim.uid)
            response.claims[claim.uid].SetInParent()
        return response

    # --- Registration -------------------------------------------------------------------------------------------------

    def GetInfo(self, request: Any, _: grpc.ServicerContext) -> Any:
        endpoint = str(self.endpoint)
        return registration.PluginInfo(
            type="DRAPlugin", name=DRIVER, endpoint=endpoint, supported_versions=["v1.DRAPlugin"]
        )

    def NotifyRegistrationStatus(self, request: Any, _: grpc.ServicerContext) -> Any:
        log.info("the kubelet says: registered %s %s", request.plugin_registered, request.error)
        return registration.RegistrationStatusResponse()

    def serve(self, kubelet: Path) -> list[grpc.Server]:
        """Listen on the two sockets the kubelet looks for."""
        self.endpoint = kubelet / "plugins" / DRIVER / "dra.sock"
        announced = kubelet / "plugins_registry" / f"{DRIVER}-reg.sock"
        servers = []
        for path, add in (
            (self.endpoint, dra_services.add_DRAPluginServicer_to_server),
            (announced, registration_services.add_RegistrationServicer_to_server),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            server = grpc.server(ThreadPoolExecutor(4))
            add(self, server)
            server.add_insecure_port(f"unix:{path}")
            server.start()
            servers.append(server)
        return servers


def parameter(name: str, config: list[DeviceAllocationConfiguration], request: str) -> str:
    """A parameter for one request: the claim's own stand after its class's, so the last one counts."""
    value = ""
    for entry in config:
        if entry.opaque and entry.opaque.driver == DRIVER and (not entry.requests or request in entry.requests):
            value = entry.opaque.parameters.get(name, value)
    return value


def pci_address(text: str) -> str:
    """An argument that is one."""
    if not PCI.fullmatch(text.lower()):
        raise argparse.ArgumentTypeError(f"{text!r} is no PCI address such as 0000:01:00.0")
    return text.lower()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--pattern", help="names of the links to offer, with --physical-function * by default")
    parser.add_argument("--physical-function", action="append", default=[], type=pci_address, metavar="ADDRESS",
                        help="PCI address of one whose virtual functions to offer; may come again")  # fmt: skip
    parser.add_argument("--cdi-dir", type=Path, default=Path("/var/run/cdi"))
    parser.add_argument("--kubelet-dir", type=Path, default=Path("/var/lib/kubelet"))
    parser.add_argument("--nri", type=Path, help="the runtime's NRI socket: move the links as its plugin")
    parser.add_argument("--period", type=float, default=2.0, help="seconds between two looks at the links")
    arguments = parser.parse_args()
    if not arguments.pattern and not arguments.physical_function:
        parser.error("one of --pattern and --physical-function is needed")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    api = Client(KubeConfig.from_file(arguments.kubeconfig), field_manager=DRIVER, trust_env=False)
    if arguments.nri:
        prepared = Prepared(arguments.kubelet_dir / "plugins" / DRIVER / "claims", DRIVER, edits=False)
        moving = stay_connected(arguments.nri, DRIVER, prepared, Moves())
        threading.Thread(target=asyncio.run, args=(moving,), daemon=True).start()
    else:
        prepared = Prepared(arguments.cdi_dir, DRIVER)
    driver = Driver(api, arguments.node, arguments.pattern or "*", prepared, arguments.physical_function)
    driver.publish()
    servers = driver.serve(arguments.kubelet_dir)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(arguments.period):
        try:
            driver.publish()
        except httpx2.HTTPError as error:
            log.warning("%s", error)
    for server in servers:
        server.stop(1)


if __name__ == "__main__":
    main()
