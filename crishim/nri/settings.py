"""The driver's settings. Defaults for users are in config.py; these are NRI's own."""

from pathlib import Path
from typing import NamedTuple

import crishim
from crishim.config import Config
from crishim.nri.validator import Validator

NRI_VERSION = "v0.12.5"  # of the definition in api/nri.proto; plugins choose their behaviour by it


class DriverSettings(NamedTuple):
    socket: Path | None = Path("/var/run/nri/nri.sock")  # None: no plugin can connect by itself
    plugin_directory: Path | None = Path("/opt/nri/plugins")  # None: none is launched
    config_directory: Path = Path("/etc/nri/conf.d")
    registration_timeout: float = 5.0  # seconds a plugin has to register, and to answer Synchronize
    request_timeout: float = 2.0  # seconds for anything else
    validator: Validator = Validator()
    runtime_name: str = "crishim"
    runtime_version: str = ""


def from_config(config: Config) -> DriverSettings:
    """The section [nri]; if not enabled: no socket, no launched plugins and no validator."""
    nri = config.nri
    if not nri.enable:
        return DriverSettings(socket=None, plugin_directory=None)
    given = {name: getattr(nri.validator, name) for name in Validator._fields}
    return DriverSettings(
        socket=Path(nri.socket) if nri.socket else None,
        plugin_directory=Path(nri.plugin_dir) if nri.plugin_dir else None,
        config_directory=Path(nri.config_dir),
        registration_timeout=nri.registration_timeout,
        request_timeout=nri.request_timeout,
        validator=Validator(**given | {"required_plugins": tuple(nri.validator.required_plugins)}),
        runtime_version=crishim.__version__,
    )
