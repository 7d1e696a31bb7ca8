"""What the driver is told. Each setting's default for users is config.py's; these are NRI's own."""

from pathlib import Path
from typing import NamedTuple

from crishim.nri.validator import Validator

NRI_VERSION = "v0.12.5"  # whose definition api/nri.proto matches; plugins choose by it what to expect


class Settings(NamedTuple):
    socket: Path | None = Path("/var/run/nri/nri.sock")  # None: no plugin comes by itself
    plugin_directory: Path | None = Path("/opt/nri/plugins")  # None: none is launched
    config_directory: Path = Path("/etc/nri/conf.d")
    registration_timeout: float = 5.0  # seconds a plugin has to register, and to answer Synchronize
    request_timeout: float = 2.0  # seconds for anything else
    validator: Validator = Validator()
    runtime_name: str = "crishim"
    runtime_version: str = ""
