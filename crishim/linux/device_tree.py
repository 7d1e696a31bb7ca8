"""What only sysfs has of a network device: its upper devices, and the virtual functions of hardware. sysfs(5).

A symbolic link upper_NAME is there for every upper device of any kind in the same namespace.
"""

import os
from typing import NamedTuple

from crishim.linux.sysfs import GONE


class Function(NamedTuple):
    """A virtual function of a physical one (SR-IOV)."""

    address: str  # on its bus: "0000:03:10.0"
    driver: str  # "" if none is bound
    names: tuple[str, ...]  # its network devices in this sysfs's namespace


def uppers(sysfs: int, name: str) -> list[str]:
    """Names of a device's upper devices in its namespace; empty if it is not there."""
    return [entry.removeprefix("upper_") for entry in _list(sysfs, f"class/net/{name}") if entry.startswith("upper_")]


def functions(sysfs: int, name: str) -> list[Function]:
    """Virtual functions of a device's hardware, in order of their address."""
    device = f"class/net/{name}/device"
    found = []
    for entry in _list(sysfs, device):
        if entry.startswith("virtfn"):
            path = f"{device}/{entry}"
            names = tuple(sorted(_list(sysfs, f"{path}/net")))
            found.append(Function(_target(sysfs, path), _target(sysfs, f"{path}/driver"), names))
    return sorted(found)


def physical(sysfs: int, name: str) -> tuple[str, int] | None:
    """For a virtual function: a network device of its physical one in this sysfs's namespace, and its number there.

    Of several ports of one physical function the one with the same dev_port. None for all other devices.
    """
    device = f"class/net/{name}/device"
    own = _target(sysfs, device)
    entries = _list(sysfs, f"{device}/physfn") if own else []
    numbers = [int(e[6:]) for e in entries if e.startswith("virtfn") and e[6:].isdecimal()]
    number = next((n for n in sorted(numbers) if _target(sysfs, f"{device}/physfn/virtfn{n}") == own), None)
    ports = {_port(sysfs, port): port for port in sorted(_list(sysfs, f"{device}/physfn/net"), reverse=True)}
    if number is None or not ports:
        return None
    return ports.get(_port(sysfs, name), min(ports.values())), number


def _port(sysfs: int, name: str) -> str:
    """dev_port of a network device, "" without one."""
    try:
        file = os.open(f"class/net/{name}/dev_port", os.O_RDONLY | os.O_CLOEXEC, dir_fd=sysfs)
    except OSError as error:
        if error.errno in GONE:
            return ""
        raise
    try:
        return os.read(file, 16).strip().decode()
    finally:
        os.close(file)


def _list(sysfs: int, path: str) -> list[str]:
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=sysfs)
    except OSError as error:
        if error.errno in GONE:
            return []
        raise
    try:
        return os.listdir(directory)  # noqa: PTH208
    finally:
        os.close(directory)


def _target(sysfs: int, path: str) -> str:
    try:
        return os.path.basename(os.readlink(path, dir_fd=sysfs))  # noqa: PTH119
    except OSError as error:
        if error.errno in GONE:
            return ""
        raise
