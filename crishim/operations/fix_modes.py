"""Correct the modes of existing directories of pods and containers, which older versions left open."""

from collections.abc import Iterable
from pathlib import Path

from crishim.config import Config
from crishim.engine.sandbox import root_group
from crishim.linux import directories
from crishim.model import ContainerRecord, PodRecord
from crishim.operations.own_directories import PASSAGES


def fix_modes(config: Config, pods: Iterable[PodRecord], containers: Iterable[ContainerRecord]) -> None:
    """Set the modes of the directories of pods and containers; one without a record is closed to all but root. Blocks.

    Running containers are not affected: their root and mounts are in their own mount namespaces.
    """
    groups = {pod.id: root_group(pod.parse_config()) for pod in pods}
    groups |= {container.id: groups.get(container.pod_id) for container in containers}
    run, state = Path(config.run_dir), Path(config.state_dir)
    for parent in (run / "pods", run / "roots", run / "containers", state / "writable"):
        lets_pass = parent.name in PASSAGES
        for path in parent.iterdir():
            if path.is_dir() and not path.is_symlink():
                directories.own(path, group=groups.get(path.name) if lets_pass else None)
