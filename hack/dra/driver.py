"""An example DRA driver: host links that match a pattern, given to pods through CDI and linux.netDevices.

It never touches a link. It publishes what there is (a ResourceSlice), answers NodePrepareResources by writing a CDI 1.1
file that names the link, and reports in the claim's status what the pod will have. The container runtime moves the
device in and back. (KEP-4381; k8s.io/kubelet pkg/apis/dra/v1)

usage: python -m hack.dra.driver --kubeconfig FILE --node NAME --pattern 'dev*' --cdi-dir DIR --kubelet-dir DIR
"""

import argparse
import json
import logging
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from hack.dra import links
from hack.dra.api import Api, Object

DRIVER = "netdevices.crishim.io"
KIND = f"{DRIVER}/claim"
dra, dra_services = grpc.protos_and_services("hack/dra/dra.proto")
registration, registration_services = grpc.protos_and_services("hack/dra/registration.proto")
log = logging.getLogger("dra")


class Driver:
    def __init__(self, api: Api, node: str, pattern: str, cdi: Path) -> None:
        self.api, self.node, self.pattern, self.cdi = api, node, pattern, cdi
        self.slice = f"{node}-{DRIVER}"
        self._lock = threading.Lock()
        self._devices: dict[str, links.Link] = {}  # what is published: links on the host, and those a claim holds
        self._generation = 0
        cdi.mkdir(parents=True, exist_ok=True)

    # --- what there is ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Publish the links that are there. One that a claim holds is in a pod: it stays, or its pod would lose it."""
        with self._lock:
            held = self._held()
            seen = links.host_links(self.pattern)
            devices = {n: d for n, d in self._devices.items() if n in held} | seen
            if devices == self._devices and self._generation:
                return
            self._generation += 1
            pool = {"name": self.node, "generation": self._generation, "resourceSliceCount": 1}
            entries = [links.slice_device(name, link) for name, link in sorted(devices.items())]
            spec = {"driver": DRIVER, "nodeName": self.node, "pool": pool, "devices": entries}
            self.api.publish(self.slice, spec)
            self._devices = devices
            log.info("published %s", sorted(devices))

    def _held(self) -> set[str]:
        """Links of prepared claims, from the CDI files: they survive a restart of this process."""
        files = [json.loads(path.read_text()) for path in self.cdi.glob(f"{DRIVER}-*.json")]
        edits = [device["containerEdits"]["netDevices"] for file in files for device in file["devices"]]
        return {entry["hostInterfaceName"] for entries in edits for entry in entries}

    # --- DRAPlugin ----------------------------------------------------------------------------------------------------

    def NodePrepareResources(self, request: Any, _: grpc.ServicerContext) -> Any:
        response = dra.NodePrepareResourcesResponse()
        for claim in request.claims:
            try:
                response.claims[claim.uid].CopyFrom(self._prepare(claim))
            except (OSError, KeyError, ValueError) as error:
                log.warning("claim %s/%s: %s", claim.namespace, claim.name, error)
                response.claims[claim.uid].error = str(error)
        return response

    def _prepare(self, claim: Any) -> Any:
        """Write the claim's CDI file and its status. The same claim may come again: both are the same then."""
        found = self.api.claim(claim.namespace, claim.name)
        if found["metadata"]["uid"] != claim.uid:
            raise ValueError("another claim has taken this name")
        allocated = found["status"]["allocation"]["devices"]
        results = [r for r in allocated["results"] if r["driver"] == DRIVER]
        names = interface_names(allocated.get("config", []), results)
        devices = {f"{claim.uid}-{r['device']}": (r["device"], name) for r, name in zip(results, names, strict=True)}
        path = self._file(claim.uid)
        waiting = path.with_suffix(".new")
        waiting.write_text(json.dumps(links.cdi_spec(KIND, devices), indent=1))
        waiting.rename(path)
        self.api.report(claim.namespace, claim.name, [
            self._status(r, name) for r, name in zip(results, names, strict=True)
        ])  # fmt: skip
        log.info("claim %s/%s: %s", claim.namespace, claim.name, devices)
        return dra.NodePrepareResourceResponse(devices=[
            dra.Device(request_names=[r["request"]], pool_name=r["pool"], device_name=r["device"],
                       cdi_device_ids=[f"{KIND}={claim.uid}-{r['device']}"])
            for r in results
        ])  # fmt: skip

    def _status(self, result: Object, name: str) -> Object:
        """What the pod will have: the device is not in it yet when this is written."""
        link = self._devices[result["device"]]
        data = {"interfaceName": name, "ips": link["addresses"][:16], "hardwareAddress": link["mac"]}
        return {"driver": DRIVER, "pool": result["pool"], "device": result["device"], "networkData": data}

    def NodeUnprepareResources(self, request: Any, _: grpc.ServicerContext) -> Any:
        """The pod's sandbox is stopped by now, and the runtime gave the device back."""
        response = dra.NodeUnprepareResourcesResponse()
        for claim in request.claims:
            self._file(claim.uid).unlink(missing_ok=True)
            response.claims[claim.uid].SetInParent()
        return response

    def _file(self, uid: str) -> Path:
        return self.cdi / f"{DRIVER}-{uid}.json"

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


def interface_names(config: list[Object], results: list[Object]) -> list[str]:
    """The name each device gets in the pod: `interface` of the claim's opaque parameters, else net1, net2, ..."""
    names = []
    for number, result in enumerate(results, 1):
        name = f"net{number}"
        for entry in config:
            opaque = entry.get("opaque", {})
            if opaque.get("driver") == DRIVER and (not entry.get("requests") or result["request"] in entry["requests"]):
                name = opaque["parameters"].get("interface", name)
        names.append(name)
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--pattern", required=True, help="names of the links to offer")
    parser.add_argument("--cdi-dir", type=Path, default=Path("/var/run/cdi"))
    parser.add_argument("--kubelet-dir", type=Path, default=Path("/var/lib/kubelet"))
    parser.add_argument("--period", type=float, default=2.0, help="seconds between two looks at the links")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    driver = Driver(Api(arguments.kubeconfig), arguments.node, arguments.pattern, arguments.cdi_dir)
    driver.look()
    servers = driver.serve(arguments.kubelet_dir)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(arguments.period):
        try:
            driver.look()
        except OSError as error:
            log.warning("%s", error)
    for server in servers:
        server.stop(1)


if __name__ == "__main__":
    main()
