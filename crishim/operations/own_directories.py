"""The daemon's own directories: which there are, and who may pass.

Nobody but root enters state_dir. run_dir and two directories in it let those through who may pass further down: the
root of a user namespace, which is nobody on the host and has to reach its own pod's files, and a group that is given
the socket. Each pod's and container's directory closes what is below (directories.own).
"""

from pathlib import Path

from crishim.config import Config, ConfigError
from crishim.linux import directories

_IN_STATE = ("pods", "containers", "netdev", "writable")
_IN_RUN = ("containers", "runtime")
PASSAGES = ("pods", "roots")  # in run_dir


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
            for name in PASSAGES if key == "run_dir" else ():
                directories.own(path / name, directories.PASSAGE)
        except OSError as error:
            raise ConfigError(f"{key}: {error.filename or path} cannot be made: {error.strerror}") from None
