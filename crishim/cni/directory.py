"""Chooses the network configuration. The directory is read for each pod, so that a file that a network add-on installs
is used without a restart; the files are parsed again only when the directory has changed.
"""

import logging
import os
from pathlib import Path
from typing import Literal

from crishim.cni.format import NetworkList, parse_list
from crishim.errors import CrishimError, Kind
from crishim.linux import files

_SUFFIXES = {".conflist", ".conf", ".json"}
_MAX_BYTES = 1 << 20

log = logging.getLogger("crishim.cni")

Signature = tuple[tuple[str, int, int, int], ...]


class ConfigDirectory:
    """The configurations of one directory. Its methods block briefly (a directory listing): call them in a thread."""

    def __init__(self, path: Path, choose: Literal["newest", "first"]) -> None:
        self._path = path
        self._choose = choose
        self._seen: Signature | None = None
        self._chosen: NetworkList | CrishimError = CrishimError(Kind.UNAVAILABLE, "not looked yet")

    def current(self) -> NetworkList:
        """The network list in force. UNAVAILABLE, with the reason, while there is none."""
        signature = self._signature()
        if signature != self._seen:
            self._chosen = self._pick(signature)
            self._seen = signature
        if isinstance(self._chosen, CrishimError):
            raise self._chosen
        return self._chosen

    def links(self) -> frozenset[str]:
        """Names of host links that the network in force is built on (bridge, macvlan, ipvlan, vlan, host-device)."""
        try:
            plugins = self.current().plugins
        except CrishimError:
            return frozenset()
        found = [plugin.get(key) for plugin in plugins for key in ("bridge", "master", "device")]
        return frozenset(name for name in found if isinstance(name, str) and name)

    def _signature(self) -> Signature:
        entries = []
        try:
            with os.scandir(self._path) as scan:
                for entry in scan:
                    if Path(entry.name).suffix in _SUFFIXES and not entry.name.startswith("."):
                        entries.append(_fingerprint(entry))
        except FileNotFoundError:
            return ()
        except OSError as error:
            text = f"the pod network is not ready: {self._path} cannot be read: {error.strerror}"
            raise CrishimError(Kind.UNAVAILABLE, text, path=str(self._path)) from error
        return tuple(sorted(entries))

    def _pick(self, signature: Signature) -> NetworkList | CrishimError:
        """The first valid file in the chosen order; an invalid one is logged and skipped."""
        order = sorted(signature, key=lambda e: -e[1]) if self._choose == "newest" else list(signature)
        faults = []
        for name, *_ in order:
            path = self._path / name
            try:
                network = parse_list(files.read_regular(path, _MAX_BYTES), str(path))
            except (CrishimError, OSError) as error:
                faults.append(
                    f"CNI configuration {path}: {error.strerror}" if isinstance(error, OSError) else str(error)
                )
                log.warning("a CNI configuration is passed over", extra={"path": str(path), "error": faults[-1]})
                continue
            log.info("CNI network in force", extra={"network": network.name, "path": str(path)})
            return network
        reason = faults[0] if faults else f"no CNI configuration in {self._path}"
        return CrishimError(Kind.UNAVAILABLE, f"the pod network is not ready: {reason}", path=str(self._path))


def _fingerprint(entry: os.DirEntry[str]) -> tuple[str, int, int, int]:
    """Name, mtime, size and inode, of which one changes with the file; zeros if stat(2) fails (a dangling link)."""
    try:
        status = entry.stat()
    except OSError:
        return entry.name, 0, 0, 0
    return entry.name, status.st_mtime_ns, status.st_size, status.st_ino
