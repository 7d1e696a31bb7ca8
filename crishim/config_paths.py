"""Check the paths and programs of the settings; creates nothing."""

import os
import re
import shutil
from pathlib import Path

from crishim.config import Config, ConfigError

_UNFIT = re.compile(r"[\[\]@+:,\s\"\\]")


def check_paths(config: Config) -> None:
    """Raise ConfigError for the first path or program that cannot be used."""
    directories = {"state_dir": config.state_dir, "run_dir": config.run_dir, "images.root": config.images.root}
    for key, name in directories.items():
        if name:
            _check_directory(key, Path(name))
            # Characters not allowed in skopeo's references to the store; images.root moves the store out of state_dir.
            if _UNFIT.search(name) and not (key == "state_dir" and config.images.root):
                raise ConfigError(f"{key}: images cannot lie at {name!r}: no spaces, nor any of []@+:,")
    if Path(config.run_dir).is_relative_to(config.state_dir):
        raise ConfigError(f"run_dir: {config.run_dir} lies in state_dir, which only root may enter")
    _check_socket("socket", Path(config.socket))
    files = {"images.policy": config.images.policy, "images.registries_conf": config.images.registries_conf}
    files |= {"stream.tls_cert": config.stream.tls_cert, "stream.tls_key": config.stream.tls_key}
    files |= {"metrics.tls_cert": config.metrics.tls_cert, "metrics.tls_key": config.metrics.tls_key}
    for key, name in files.items():
        if name and not os.access(name, os.R_OK):
            raise ConfigError(f"{key}: {name} cannot be read")
    programs = {"runtimes.conmon": config.runtimes.conmon, "images.skopeo": config.images.skopeo}
    default = config.runtimes.default
    programs[f"runtimes.handlers.{default}.path"] = config.runtimes.handlers[default].path
    for key, name in programs.items():
        if find_program(name) is None:
            raise ConfigError(f"{key}: there is no program {name}")


def check_nri(config: Config) -> None:
    """As check_paths(), for the path that only a daemon uses."""
    if config.nri.enable and config.nri.socket:
        _check_socket("nri.socket", Path(config.nri.socket))


def check_sysctls(config: Config) -> None:
    """Raise ConfigError for a sysctl of pods that this kernel does not have; a module may have to be loaded for it."""
    for name in config.pods.sysctls:
        if not os.path.lexists(f"/proc/sys/{name if '/' in name else name.replace('.', '/')}"):
            raise ConfigError(f"pods.sysctls: the kernel has no sysctl {name} (a module may have to be loaded)")


def _check_directory(key: str, path: Path) -> None:
    """Raise ConfigError unless it is a writable directory, or one can be made there."""
    if not path.is_absolute():
        raise ConfigError(f"{key}: {path} is not an absolute path")
    nearest = next(p for p in (path, *path.parents) if os.path.lexists(p))
    if not nearest.is_dir():
        raise ConfigError(f"{key}: {path} cannot be made: {nearest} is no directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"{key}: {path} is not writable" if nearest == path else f"{key}: {path} cannot be made")


def _check_socket(key: str, path: Path) -> None:
    if len(os.fsencode(path)) > 107:  # sockaddr_un.sun_path, unix(7)
        raise ConfigError(f"{key}: {path} is longer than the 107 bytes a unix socket's path may have")
    if not path.is_absolute() or (os.path.lexists(path) and not path.is_socket()):
        raise ConfigError(f"{key}: {path} is not the absolute path of a socket")
    _check_directory(key, path.parent)


def find_program(name: str) -> str | None:
    """Absolute path of a program; None if it is not found. Searches sbin, too, which a service's PATH may lack."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
