"""The operations whose await points are gone through: each with what it needs before, and what holds after it."""

import contextlib
import itertools
from collections.abc import Mapping
from typing import Any

from crishim.pb import cri_pb2 as cri
from hack.campaigns.awaits import FaultyDaemon, Scenario
from hack.campaigns.ground import Device
from tests.support.daemon import eventually
from tests.support.pods import annotated, container_config, pod_config

SLEEP = ["sleep", "1000000"]
_numbers = itertools.count()


class PodScenario(Scenario):
    """A pod, with a container and a device if they are wanted, made before the call."""

    handler = "crun"
    wants_container = True  # one that was created
    wants_start = True
    wish_of: Mapping[str, Any] = {"command": SLEEP, "log_path": "log"}  # the container's fields

    def __init__(self, daemon: FaultyDaemon, device: Device | None = None, handler: str = "crun") -> None:
        super().__init__(daemon)
        self.device, self.handler = device, handler
        self.part = f"{self.operation} {handler}{' with a device' if device else ''}"
        self.pod = self.container = ""

    def prepare(self) -> None:
        devices = annotated(**{self.device.name: "net1"}) if self.device else {}
        logs = self.daemon.directory / "logs"
        logs.mkdir(exist_ok=True)
        self.config = pod_config(f"await-{next(_numbers)}", annotations=devices, log_directory=str(logs))
        self.wish = container_config(**self.wish_of)
        self.pod = self.container = ""
        self.run_pod()
        if self.wants_container:
            self.create()
            if self.wants_start:
                self.daemon.call("StartContainer", container_id=self.container)

    def run_pod(self) -> None:
        answer = self.daemon.call("RunPodSandbox", config=self.config, runtime_handler=self.handler)
        self.pod = answer.pod_sandbox_id

    def create(self) -> None:
        answer = self.daemon.call(
            "CreateContainer", pod_sandbox_id=self.pod, config=self.wish, sandbox_config=self.config
        )
        self.container = answer.container_id

    def status(self) -> Any:
        return self.daemon.call("ContainerStatus", container_id=self.container).status

    def check_device(self) -> None:
        if self.device is not None:
            answer = self.daemon.call(
                "ExecSync", container_id=self.container, cmd=["ip", "addr", "show", "dev", "net1"], timeout=20
            )
            shown = answer.stdout.decode()
            assert all(a in shown for a in self.device.addresses), f"not whole in its pod: {shown}"

    def clean(self) -> None:
        for pod in self.daemon.call("ListPodSandbox").items:
            self.daemon.call("StopPodSandbox", pod_sandbox_id=pod.id)
            self.daemon.call("RemovePodSandbox", pod_sandbox_id=pod.id)
        left = [c.id for c in self.daemon.call("ListContainers").containers]
        assert not left, f"containers are still listed: {left}"
        if self.device is not None:
            assert not (what := self.device.differs()), what


class RunPod(PodScenario):
    operation = "RunPodSandbox"
    wants_container = False

    def prepare(self) -> None:
        self.config = pod_config(
            f"await-{next(_numbers)}", port_mappings=[cri.PortMapping(host_port=8097, container_port=80)]
        )
        self.config.linux.security_context.namespace_options.pid = cri.POD
        self.wish = container_config(command=SLEEP)
        self.wish.linux.security_context.namespace_options.pid = cri.POD

    def call(self) -> None:
        self.run_pod()

    def check(self) -> None:
        self.create()
        self.daemon.call("StartContainer", container_id=self.container)
        assert self.status().state == cri.CONTAINER_RUNNING


class Create(PodScenario):
    operation = "CreateContainer"
    wants_container = False

    def call(self) -> None:
        self.create()

    def check(self) -> None:
        self.daemon.call("StartContainer", container_id=self.container)
        assert self.status().state == cri.CONTAINER_RUNNING
        self.check_device()


class Start(PodScenario):
    """A start that failed leaves the container EXITED (StartError): the client's retry is the next attempt."""

    operation = "StartContainer"
    wants_start = False

    def call(self) -> None:
        state = self.status().state
        if state == cri.CONTAINER_RUNNING:  # the answer got lost; once more is no start
            return
        if state == cri.CONTAINER_EXITED:
            self.wish.metadata.attempt += 1
            self.create()
        self.daemon.call("StartContainer", container_id=self.container)

    def check(self) -> None:
        assert self.status().state == cri.CONTAINER_RUNNING
        self.check_device()


class Stop(PodScenario):
    operation = "StopContainer"

    def call(self) -> None:
        self.daemon.call("StopContainer", container_id=self.container, timeout=1)

    def check(self) -> None:
        assert self.status().state == cri.CONTAINER_EXITED


class Exit(Stop):
    """The daemon's own operation after a container's end."""

    operation = "exit"

    def check(self) -> None:
        eventually(lambda: self.status().state == cri.CONTAINER_EXITED, "the end is recorded")
        # 2: the signal found runc's init before it had executed the command. A Go program whose own SIGTERM does
        # nothing to it, as it is process 1 of its namespace, exits so.
        assert self.status().exit_code in (137, 143, *((2,) if self.handler == "runc" else ())), self.status()


class Remove(PodScenario):
    operation = "RemoveContainer"

    def call(self) -> None:
        self.daemon.call("RemoveContainer", container_id=self.container)

    def check(self) -> None:
        left = [c.id for c in self.daemon.call("ListContainers").containers]
        assert not left, f"still listed: {left}"


class StopPod(PodScenario):
    operation = "StopPodSandbox"

    def call(self) -> None:
        self.daemon.call("StopPodSandbox", pod_sandbox_id=self.pod)

    def check(self) -> None:
        state = self.daemon.call("PodSandboxStatus", pod_sandbox_id=self.pod).status.state
        assert state == cri.SANDBOX_NOTREADY
        assert self.device is None or not (what := self.device.differs()), what


class RemovePod(PodScenario):
    operation = "RemovePodSandbox"

    def call(self) -> None:
        self.daemon.call("RemovePodSandbox", pod_sandbox_id=self.pod)

    def check(self) -> None:
        left = [p.id for p in self.daemon.call("ListPodSandbox").items]
        assert not left, f"still listed: {left}"


class Removal(Remove):
    """What the answer of RemoveContainer does not wait for."""

    operation = "removal"


class PodRemoval(RemovePod):
    """What the answer of RemovePodSandbox does not wait for."""

    operation = "removal"

    def __init__(self, daemon: FaultyDaemon, device: Device) -> None:
        super().__init__(daemon, device)
        self.part = "removal of a pod with a device"


class ExecSync(PodScenario):
    operation = "ExecSync"

    def call(self) -> None:
        answer = self.daemon.call(
            "ExecSync", container_id=self.container, cmd=["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=20
        )
        self.answer = (answer.exit_code, answer.stdout, answer.stderr)

    def check(self) -> None:
        assert self.answer == (3, b"out\n", b"err\n"), self.answer


class Update(PodScenario):
    operation = "UpdateContainerResources"

    def call(self) -> None:
        resources = cri.LinuxContainerResources(cpu_shares=300, memory_limit_in_bytes=64 << 20, oom_score_adj=500)
        self.daemon.call("UpdateContainerResources", container_id=self.container, linux=resources)

    def check(self) -> None:
        found = self.status().resources.linux
        assert (found.cpu_shares, found.memory_limit_in_bytes) == (300, 64 << 20), found


class ReopenLog(PodScenario):
    operation = "ReopenContainerLog"

    def call(self) -> None:
        self.daemon.call("ReopenContainerLog", container_id=self.container)


class Pull(Scenario):
    operation = "PullImage"

    def __init__(self, daemon: FaultyDaemon, image: str) -> None:
        super().__init__(daemon)
        self.image = cri.ImageSpec(image=image)

    def call(self) -> None:
        self.daemon.call("PullImage", image=self.image)

    def check(self) -> None:
        assert self.daemon.call("ImageStatus", image=self.image).image.id

    def clean(self) -> None:
        self.daemon.call("RemoveImage", image=self.image)
        places = (self.daemon.state / "downloads", self.daemon.run / "secrets")
        with contextlib.suppress(AssertionError):  # what could not be removed at once goes half a second later
            eventually(lambda: not any(list(p.iterdir()) for p in places), "the scratch files are gone", 5)
        scratch = [path for place in places for path in place.iterdir()]
        layers = list((self.daemon.state / "images/overlay").glob("[0-9a-f]" * 64))
        assert (scratch, len(layers)) == ([], 1), f"left of a pull: {scratch} {layers}"


class RemoveImage(Pull):
    operation = "RemoveImage"

    def prepare(self) -> None:
        self.daemon.call("PullImage", image=self.image)

    def call(self) -> None:
        self.daemon.call("RemoveImage", image=self.image)

    def check(self) -> None:
        assert not self.daemon.call("ImageStatus", image=self.image).image.id
