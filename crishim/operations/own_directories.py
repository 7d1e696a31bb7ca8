"""The daemon's own directories: which there are, who may pass, and setting right what an older version left open.

Nobody but root enters state_dir. run_dir and two directories in it let those through who may pass further down: the
root of a user namespace, which is nobody on the host and has to reach its own pod's files, and a group that is given
the socket. Each pod's and container's directory closes what is below (directories.own).
"""

from collections.abc import Iterable
from pathlib import Path

from crishim.config import Config, ConfigError
from crishim.engine.sandbox import root_group
from crishim.linux import directories
from crishim.model import ContainerRecord, PodRecord

_IN_STATE = ("pods", "containers", "netdev", "writable")
_IN_RUN = ("containers", "runtime")
_PASSAGES = ("pods", "roots")  # in run_dir


def make_directories(config: Config) -> None:
    """Make state_dir, run_dir and what is always in them, or set their modes right; after check_paths().

    ConfigError if one cannot be made.
    """
    for key, mode in (("state_dir", directories.PRIVATE), ("run_dir", directories.PASSAGE)):
        path = Path(getattr(config, key))
        try:
            directories.make_missing(path.parent, directories.PUBLIC)
            directories.own(path, mode)
            for name in _IN_STATE if key == "state_dir" else _IN_RUN:
                directories.own(path / name)
            for name in _PASSAGES if key == "run_dir" else ():
                directories.own(path / name, directories.PASSAGE)
        except OSError as error:
            raise ConfigError(f"{key}: {error.filename or path} cannot be made: {error.strerror}") from None


def set_right(config: Config, pods: Iterable[PodRecord], containers: Iterable[ContainerRecord]) -> None:
    """Close the directories of pods and containers that are there; one without a record is closed to all. Blocks.

    What runs does not notice: its root and its mounts are its own by then.
    """
    groups = {pod.id: root_group(pod.parse_config()) for pod in pods}
    groups |= {container.id: groups.get(container.pod_id) for container in containers}
    run, state = Path(config.run_dir), Path(config.state_dir)
    for parent in (run / "pods", run / "roots", run / "containers", state / "writable"):
        lets_pass = parent.name in _PASSAGES
        for path in parent.iterdir():
            if path.is_dir() and not path.is_symlink():
                directories.own(path, group=groups.get(path.name) if lets_pass else None)
