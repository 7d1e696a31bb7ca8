"""Leases of host-local, the usual CNI IPAM plugin: a file for each address, named by it.

host-local never expires a lease: an address without a CNI DEL stays leased for ever. A lease of an id that nothing of
ours has may be another runtime's pod, since networks are shared. It is stale if it is old, no namespace of the node
has its address, and no runtime that uses libcni has a result for the pod.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from crishim.ids import is_id
from crishim.linux import directories, files, net_namespaces

YOUNG = 600.0  # seconds a lease is not stale: the address is assigned to the interface later
LIBCNI = (Path("/var/lib/cni/results"), Path("/var/lib/cni/cache/results"))  # files named NETWORK-ID-INTERFACE
_LEASE_LIMIT = 4096  # bytes read of a lease; below, of a network configuration
_CONFLIST_LIMIT = 1 << 20


def held(config_dir: Path) -> Iterator[tuple[Path, str]]:
    """Every lease, with the id it is held for. Blocks."""
    for directory in lease_directories(config_dir):
        for path in directories.entries(directory):
            with contextlib.suppress(OSError):
                holder = files.read_regular(path, _LEASE_LIMIT).split(b"\n")[0].strip().decode(errors="replace")
                yield path, holder


def stale(config_dir: Path, ids: set[str]) -> list[tuple[Path, str]]:
    """Leases without a pod. ids: those that something of ours still has. Blocks: enters all network namespaces."""
    remembered = " ".join(path.name for directory in LIBCNI for path in directories.entries(directory))
    found = [
        (path, holder)
        for path, holder in held(config_dir)
        if is_id(holder) and holder not in ids and holder not in remembered and _is_old(path)
    ]
    used = net_namespaces.addresses_in_use() if found else set()
    return [(path, holder) for path, holder in found if path.name not in used]


def lease_directories(config_dir: Path) -> list[Path]:
    """The directories of host-local's leases, for all configured networks: its dataDir and the network's name."""
    found = []
    for path in directories.entries(config_dir):
        try:
            tree: Any = msgspec.json.decode(files.read_regular(path, _CONFLIST_LIMIT))
            plugins = tree.get("plugins", [tree])
            ipams = [p["ipam"] for p in plugins if isinstance(p.get("ipam"), dict)]
            found += [
                Path(i.get("dataDir") or "/var/lib/cni/networks") / tree["name"]
                for i in ipams
                if i.get("type") == "host-local"
            ]
        except (OSError, msgspec.DecodeError, RecursionError, AttributeError, KeyError, TypeError):
            continue  # not a network configuration
    return found


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > YOUNG
    except OSError:
        return False
