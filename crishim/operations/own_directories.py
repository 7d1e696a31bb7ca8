"""Make the daemon's own directories, with their modes.

Only root enters state_dir. run_dir and two directories in it have search permission for all: for the root of a user
namespace, an unprivileged user of the host that has to reach its own pod's files, and for a group that may use the
socket. Each pod's and container's directory is closed (directories.own).
"""

from pathlib import Path

from crishim.config import Config, ConfigError
from crishim.linux import directories

_IN_STATE = ("pods", "containers", "netdev", "writable")
_IN_RUN = ("containers", "runtime")
PASSAGES = ("pods", "roots")  # in run_dir


def make_directories(config: Config) -> None:
    """Make state_dir, run_dir and the directories in them, or set their modes; call check_paths() before.

    Raises ConfigError if one cannot be made.
    """
    for key, mode in (("state_dir", directories.PRIVATE), ("run_dir", directories.PASSAGE)):
        path = Path(getattr(config, key))
        try:
            directories.make_missing(path.parent, directories.PUBLIC)
            directories.own(path, mode)
            for name in _IN_STATE if key == "state_dir" else _IN_RUN:
                directories.own(path / name)
            for name in PASSAGES if key == "run_dir" else ():
                directories.own(path / name, directories.PASSAGE)
        except OSError as error:
            raise ConfigError(f"{key}: {error.filename or path} cannot be made: {error.strerror}") from None
