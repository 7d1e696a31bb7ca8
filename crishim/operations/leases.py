"""Addresses that host-local, the usual CNI address plugin, holds for pods: a file each, called by the address.

host-local forgets nothing by itself: what no CNI DEL gave back stays taken for ever. A lease of an id that stands in
nothing of ours may be another runtime's pod, since a network is shared. It is forsaken if it is old, no namespace of
the node has its address, and no runtime that uses libcni remembers the pod.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from crishim.ids import is_id
from crishim.linux import files, net_namespaces

YOUNG = 600.0  # seconds: an address is leased before its interface has it
LIBCNI = (Path("/var/lib/cni/results"), Path("/var/lib/cni/cache/results"))  # files called NETWORK-ID-INTERFACE
_LEASE_LIMIT = 4096  # bytes of a lease or a network configuration's worth reading
_CONFLIST_LIMIT = 1 << 20


def held(config_dir: Path) -> Iterator[tuple[Path, str]]:
    """Every lease, with the id it is held for. Blocks."""
    for directory in lease_directories(config_dir):
        for path in _entries(directory):
            with contextlib.suppress(OSError):
                holder = files.read_regular(path, _LEASE_LIMIT).split(b"\n")[0].strip().decode(errors="replace")
                yield path, holder


def forsaken(config_dir: Path, ids: set[str]) -> list[tuple[Path, str]]:
    """Leases that are nobody's. ids: those that something of ours still names. Blocks: looks into all namespaces."""
    remembered = " ".join(path.name for directory in LIBCNI for path in _entries(directory))
    found = [
        (path, holder)
        for path, holder in held(config_dir)
        if is_id(holder) and holder not in ids and holder not in remembered and _is_old(path)
    ]
    used = net_namespaces.addresses_in_use() if found else set()
    return [(path, holder) for path, holder in found if path.name not in used]


def lease_directories(config_dir: Path) -> list[Path]:
    """Where host-local keeps the addresses of the networks configured (its dataDir, and the network's name)."""
    found = []
    for path in _entries(config_dir):
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
            continue  # no configuration of a network
    return found


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > YOUNG
    except OSError:
        return False


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(Path(entry) for entry in os.scandir(directory))
    except OSError:
        return []
