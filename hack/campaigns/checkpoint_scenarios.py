"""CheckpointContainer by a real criu: the container runs on, and of an archive there is all or nothing."""

import shutil
import tarfile

from crishim.pb import cri_pb2 as cri
from hack.campaigns.scenarios import PodScenario


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


def is_possible() -> bool:
    """Whether there is a criu. What it makes of this kernel the calls say."""
    return shutil.which("criu") is not None
