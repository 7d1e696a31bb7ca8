"""Checkpoints by a real criu: containers run on, of an archive there is all or nothing, what is restored runs once."""

import shutil
import tarfile
from pathlib import Path

from crishim.pb import cri_pb2 as cri
from hack.campaigns.awaits import FaultyDaemon
from hack.campaigns.ground import Device
from hack.campaigns.scenarios import Create, PodScenario, Start
from tests.support.daemon import eventually
from tests.support.pods import container_config, pod_config


class Checkpoint(PodScenario):
    """With runc: Debian 12's crun is built without criu."""

    operation = "CheckpointContainer"

    def prepare(self) -> None:
        super().prepare()
        self.location = self.daemon.directory / "logs" / "checkpoint.tar"

    def call(self) -> None:
        self.daemon.call(
            "CheckpointContainer", container_id=self.container, location=str(self.location), timeout=30, deadline=60
        )

    def check(self) -> None:
        with tarfile.open(self.location) as archive:
            names = archive.getnames()
        assert {"checkpoint/inventory.img", "config.dump", "spec.dump", "rootfs-diff.tar"} <= set(names), names
        assert self.status().state == cri.CONTAINER_RUNNING
        answer = self.daemon.call("ExecSync", container_id=self.container, cmd=["true"], timeout=10)  # it is not frozen
        assert answer.exit_code == 0

    def clean(self) -> None:
        super().clean()
        self.location.unlink(missing_ok=True)
        left = [*self.location.parent.glob(".checkpoint*"), *(self.daemon.state / "checkpoints").glob("*")]
        assert not left, f"left of a checkpoint: {left}"


class CheckpointPod(PodScenario):
    """In the directory is all or nothing, and the containers run on; what a killed daemon left the client removes."""

    operation = "CheckpointPod"

    def prepare(self) -> None:
        super().prepare()
        self.output = self.daemon.directory / "kept-pod"
        shutil.rmtree(self.output, ignore_errors=True)

    def call(self) -> None:
        shutil.rmtree(self.output, ignore_errors=True)
        self.output.mkdir(mode=0o700)
        self.daemon.call(
            "CheckpointPod",
            pod_sandbox_id=self.pod,
            output_path=str(self.output),
            container_ids=[self.container],
            deadline=60,
        )

    def check(self) -> None:
        names = sorted(path.name for path in self.output.iterdir())
        assert names == ["checkpoint.json", "container-0.tar"], names
        answer = self.daemon.call("ExecSync", container_id=self.container, cmd=["true"], timeout=20)  # it is not frozen
        assert answer.exit_code == 0

    def clean(self) -> None:
        super().clean()
        shutil.rmtree(self.output, ignore_errors=True)
        eventually(lambda: not list((self.daemon.state / "checkpoints").glob("*")), "nothing is left of a checkpoint")


class CreateRestored(Create):
    """CreateContainer from an archive. It waits without a process until its start."""

    operation = "CreateContainer"

    def __init__(self, daemon: FaultyDaemon, device: Device | None = None, handler: str = "runc") -> None:
        super().__init__(daemon, device, handler)
        self.part += " from a checkpoint"

    def prepare(self) -> None:
        super().prepare()
        self.wish.image.image = str(archive_of(self))


class StartRestored(Start):
    operation = "StartContainer"

    def __init__(self, daemon: FaultyDaemon, device: Device | None = None, handler: str = "runc") -> None:
        super().__init__(daemon, device, handler)
        self.part += " from a checkpoint"
        self.archive = Path()

    def prepare(self) -> None:
        self.archive = archive_of(self)
        super().prepare()

    def create(self) -> None:
        self.wish.image.image = str(self.archive)
        super().create()


class RestorePod(PodScenario):
    """A killed daemon leaves a pod that the same request goes on with."""

    operation = "RestorePod"
    wants_container = False

    def __init__(self, daemon: FaultyDaemon, device: Device | None = None, handler: str = "runc") -> None:
        super().__init__(daemon, device, handler)

    def prepare(self) -> None:
        self.top = archive_of(self).parent
        super().prepare()
        self.daemon.call("StopPodSandbox", pod_sandbox_id=self.pod)
        self.daemon.call("RemovePodSandbox", pod_sandbox_id=self.pod)

    def call(self) -> None:
        answer = self.daemon.call(
            "RestorePod",
            checkpoint_path=str(self.top),
            config=self.config,
            runtime_handler=self.handler,
            container_configs=[self.wish],
            deadline=60,
        )
        self.pod, self.container = answer.pod_sandbox_id, answer.restored_containers[0].container_id

    def check(self) -> None:
        self.daemon.call("StartContainer", container_id=self.container)
        assert self.status().state == cri.CONTAINER_RUNNING
        self.check_device()


def archive_of(scenario: PodScenario) -> Path:
    """An archive of a container as the scenario wishes it, in a directory of CheckpointPod; made once for a daemon."""
    daemon = scenario.daemon
    top = daemon.directory / "checkpoints"
    if not (top / "checkpoint.json").exists():
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir(mode=0o700)
        config = pod_config("await-kept")
        pod = daemon.call("RunPodSandbox", config=config, runtime_handler="runc").pod_sandbox_id
        wish = container_config(**scenario.wish_of)
        answer = daemon.call("CreateContainer", pod_sandbox_id=pod, config=wish, sandbox_config=config)
        ids = [answer.container_id]
        daemon.call("StartContainer", container_id=ids[0])
        daemon.call("CheckpointPod", pod_sandbox_id=pod, output_path=str(top), container_ids=ids, deadline=60)
        daemon.call("StopPodSandbox", pod_sandbox_id=pod)
        daemon.call("RemovePodSandbox", pod_sandbox_id=pod)
    return top / "container-0.tar"


def is_possible() -> bool:
    """Whether there is a criu. What it makes of this kernel the calls say."""
    return shutil.which("criu") is not None
