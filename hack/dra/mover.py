"""The other way for a claim's link into its pod: an NRI plugin moves it, in the hooks and by the fields DRANET uses.

DRA prepares (which pod, by its uid, has which links), and the plugin acts: in RunPodSandbox, the last step before the
pod is READY, links go into the network namespace that its message names; in StopPodSandbox, while that one lives,
they come back. A refused RunPodSandbox fails the pod, and the kubelet tries again. No container is adjusted: CDI and
linux.netDevices have no part in it, and the runtime does not know the devices. So it is up to the plugin what a device
has when it comes back, and one that is away when a pod ends loses the pod's device with its namespace.
"""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from crishim.nri.stub import Refusal, Stub
from crishim.pb import nri_pb2 as nri
from hack.dra.prepared import Given, Prepared

AGAIN = 0.5  # seconds until the runtime is looked for again

log = logging.getLogger("dra.nri")


class Links(Protocol):
    """What happens to links: moves.py, or a test's."""

    async def move_in(self, name: str, given: Given, namespace: str) -> None:
        """Move a host link into a network namespace; nothing if it is in there. OSError: it cannot be."""

    async def move_back(self, name: str, given: Given, namespace: str) -> None:
        """The reverse. Nothing if it is on the host."""


class Mover(Stub):
    """Connected to one runtime until that closes. Make another one for the next connection."""

    def __init__(self, name: str, prepared: Prepared, links: Links) -> None:
        super().__init__("00", name)
        self._prepared, self._links = prepared, links
        self._namespaces: dict[str, str] = {}  # by pod uid: what Stop is told wins over what was remembered

    def Synchronize(self, request: nri.SynchronizeRequest) -> nri.SynchronizeResponse:
        """Pods from before: their devices are in them, or their sandbox would not be READY."""
        self._namespaces |= {pod.uid: network_namespace(pod) for pod in request.pods}
        log.info("synchronized with %d pods", len(request.pods))
        return nri.SynchronizeResponse(more=request.more)

    async def RunPodSandbox(self, request: nri.RunPodSandboxRequest) -> None:
        pod = request.pod
        if not (links := self._links_of(pod)):
            return
        if not (namespace := network_namespace(pod)):
            raise Refusal(f"pod {pod.namespace}/{pod.name} is on the host's network and cannot claim a host's link")
        self._namespaces[pod.uid] = namespace
        for name, given in links.items():
            try:
                await self._links.move_in(name, given, namespace)
            except OSError as error:
                raise Refusal(f"link {name} of pod {pod.namespace}/{pod.name}: {error}") from None
            log.info("%s is %s of pod %s/%s", name, given.interface, pod.namespace, pod.name)

    async def StopPodSandbox(self, request: nri.StopPodSandboxRequest) -> None:
        """It may come again, and for pods whose RunPodSandbox failed. The pod ends in any case."""
        pod = request.pod
        if not (namespace := network_namespace(pod) or self._namespaces.get(pod.uid, "")):
            return
        for name, given in self._links_of(pod).items():
            try:
                await self._links.move_back(name, given, namespace)
            except OSError as error:
                log.warning("%s stays in pod %s/%s: %s", name, pod.namespace, pod.name, error)

    def RemovePodSandbox(self, request: nri.RemovePodSandboxRequest) -> None:
        self._namespaces.pop(request.pod.uid, None)

    def CreateContainer(self, request: nri.CreateContainerRequest) -> None:
        """Nothing: DRANET gives character devices of RDMA here, and there is none."""

    def _links_of(self, pod: nri.PodSandbox) -> Mapping[str, Given]:
        return {name: given for name, given in self._prepared.all().items() if given.pod == pod.uid}


def network_namespace(pod: nri.PodSandbox) -> str:
    """The path of a pod's network namespace; "" for one on the host's network."""
    return next((space.path for space in pod.linux.namespaces if space.type == "network"), "")


async def stay_connected(socket: Path, name: str, prepared: Prepared, links: Links) -> None:
    """Be the runtime's plugin, and the next one's when it is started again. Until cancelled."""
    while True:
        try:
            await Mover(name, prepared, links).serve(socket)
            log.info("the runtime has closed the connection")
        except (OSError, Refusal) as error:
            log.debug("no connection: %s", error)
        await asyncio.sleep(AGAIN)
