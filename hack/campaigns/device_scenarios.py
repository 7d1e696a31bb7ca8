"""A network device attached and detached by the daemon's own RPCs: operations whose await points are gone through."""

import contextlib

import grpc

from crishim.pb import admin_pb2 as admin
from hack.campaigns.scenarios import PodScenario


class NetDevice(PodScenario):
    """The daemon's own RPCs that attach a device to a running pod and detach it."""

    operation = "AttachNetDevice"

    def prepare(self) -> None:
        device, self.device = self.device, None
        super().prepare()
        self.device = device

    def attach(self) -> None:
        assert self.device is not None
        wish = admin.AttachNetDeviceRequest(pod_sandbox_id=self.pod, device=self.device.name, name="net1")
        self.daemon.call("AttachNetDevice", wish)

    def call(self) -> None:
        assert self.device is not None
        with contextlib.suppress(grpc.RpcError):  # attached already, it says so
            self.daemon.call("DetachNetDevice", pod_sandbox_id=self.pod, device=self.device.name)
        self.attach()

    def check(self) -> None:
        self.check_device()


class Detach(NetDevice):
    operation = "DetachNetDevice"

    def prepare(self) -> None:
        super().prepare()
        self.attach()

    def call(self) -> None:
        assert self.device is not None
        held = [d.host_name for d in self.daemon.call("ListNetDevices", pod_sandbox_id=self.pod).devices]
        if self.device.name in held:
            self.daemon.call("DetachNetDevice", pod_sandbox_id=self.pod, device=self.device.name)

    def check(self) -> None:
        assert self.device is not None
        assert not (what := self.device.differs()), what
