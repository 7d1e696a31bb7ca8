"""Every RPC that is no operation of its own, and the daemon's start: whatever fails in them, the next try works."""

import contextlib
import json
import threading
from typing import Any

import grpc

from crishim.pb import admin_pb2 as admin
from crishim.pb import cri_pb2 as cri
from hack.campaigns.awaits import Broken, FaultyDaemon
from hack.campaigns.ground import Device
from hack.campaigns.scenarios import PodScenario
from tests.support.daemon import IMAGE, METHODS

PATIENCE = 5.0  # seconds: gRPC tells no client of an answer in parts that was cancelled in its middle
# In checkpoint_scenarios.py, where there is a criu.
OTHERS = {"CheckpointContainer", "CheckpointPod", "RestorePod"}
VERBOSE = {"ContainerStatus", "PodSandboxStatus", "Status", "ImageStatus"}


class Question(PodScenario):
    """An RPC that asks, or sets what can be set again: it must answer after it failed."""

    def __init__(self, daemon: FaultyDaemon, operation: str) -> None:
        self.operation = operation
        super().__init__(daemon)
        self.part = operation

    def call(self) -> None:
        fields: dict[str, Any] = {}
        if self.operation == "UpdatePodSandboxResources":
            fields = {"pod_sandbox_id": self.pod, "resources": cri.LinuxContainerResources(cpu_shares=300)}
        elif self.operation == "UpdateRuntimeConfig":
            network = cri.NetworkConfig(pod_cidr="10.231.0.0/24")
            fields = {"runtime_config": cri.RuntimeConfig(network_config=network)}
        elif self.operation in ("Exec", "Attach"):
            fields = {"container_id": self.container, "stdout": True}
            fields |= {"cmd": ["true"]} if self.operation == "Exec" else {}
        elif self.operation.startswith("Container"):
            fields = {"container_id": self.container}
        elif self.operation.startswith(("PodSandbox", "PortForward")):
            fields = {"pod_sandbox_id": self.pod}
        elif self.operation == "ImageStatus":
            fields = {"image": cri.ImageSpec(image=IMAGE)}
        if self.operation in VERBOSE:
            fields["verbose"] = True
        self.daemon.call(self.operation, deadline=PATIENCE, **fields)


class Events(PodScenario):
    """A subscription: containers are made until one of them is told of."""

    operation = "GetContainerEvents"
    wants_container = False

    def __init__(self, daemon: FaultyDaemon) -> None:
        super().__init__(daemon)
        self.part = self.operation

    def call(self) -> None:
        stream = self.daemon.call("GetContainerEvents", deadline=PATIENCE)
        told = threading.Event()
        self.told: Any = None

        def read() -> None:
            with contextlib.suppress(grpc.RpcError):
                self.told = next(iter(stream))
            told.set()

        reader = threading.Thread(target=read)
        reader.start()
        self.told = None
        while not told.is_set():
            self.create()
            self.daemon.call("RemoveContainer", container_id=self.container)
            self.wish.metadata.attempt += 1
        stream.cancel()
        reader.join()
        if self.told is None:
            raise Broken("the stream ended before an event came")

    def check(self) -> None:
        assert self.told.container_id, self.told


class Import(PodScenario):
    operation = "ImportImages"
    wants_container = False

    def __init__(self, daemon: FaultyDaemon, archive: str) -> None:
        super().__init__(daemon)
        self.part, self.archive = self.operation, archive

    def call(self) -> None:
        self.daemon.call("ImportImages", admin.ImportImagesRequest(path=self.archive))

    def check(self) -> None:
        assert self.daemon.call("ImageStatus", image=cri.ImageSpec(image=IMAGE)).image.id
        self.create()
        self.daemon.call("StartContainer", container_id=self.container)


class Restart(PodScenario):
    """The daemon's start beside a pod that runs: recovery is the whole, recover what is done for a pod or container.

    A start that fails is tried again, as systemd does.
    """

    def __init__(self, daemon: FaultyDaemon, device: Device, operation: str) -> None:
        self.operation = operation
        super().__init__(daemon, device)

    def prepare(self) -> None:
        super().prepare()
        info = self.daemon.call("ContainerStatus", container_id=self.container, verbose=True).info["info"]
        self.process = json.loads(info)["pid"]

    def call(self) -> None:
        self.daemon.kill()
        for last in (False, True):
            try:
                self.daemon.start()
            except AssertionError:  # it ended
                if last:
                    raise
            else:
                return

    def check(self) -> None:
        status = self.daemon.call("ContainerStatus", container_id=self.container, verbose=True)
        assert status.status.state == cri.CONTAINER_RUNNING, status
        assert json.loads(status.info["info"])["pid"] == self.process, status
        assert self.daemon.call("PodSandboxStatus", pod_sandbox_id=self.pod).status.state == cri.SANDBOX_READY
        self.check_device()


def questions(daemon: FaultyDaemon, covered: set[str]) -> list[Question]:
    """One for each RPC there is that is not covered."""
    return [Question(daemon, name) for name in METHODS if name not in covered | OTHERS]
