"""Moving links between network namespaces with ip(8), addresses and all."""

import asyncio
import json
import os
from pathlib import Path

from hack.dra.prepared import Given


class Moves:
    """Links of this process's network namespace. It fulfils mover.Links."""

    def __init__(self) -> None:
        self._host = f"/proc/{os.getpid()}/ns/net"

    async def move_in(self, name: str, given: Given, namespace: str) -> None:
        if await self._has(given.interface, namespace):
            return
        await _run("ip", "link", "set", "dev", name, "netns", namespace, "name", given.interface)
        await self._set_up(given.interface, given, namespace)

    async def move_back(self, name: str, given: Given, namespace: str) -> None:
        if not Path(namespace).exists() or not await self._has(given.interface, namespace):
            return
        await _run(*_in(namespace), "ip", "link", "set", "dev", given.interface, "netns", self._host, "name", name)
        await self._set_up(name, given, self._host)

    async def _has(self, interface: str, namespace: str) -> bool:
        links = json.loads(await _run(*_in(namespace), "ip", "-j", "link"))
        return interface in {link["ifname"] for link in links}

    async def _set_up(self, interface: str, given: Given, namespace: str) -> None:
        """Addresses, which the kernel takes at each move, and UP."""
        lines = [f"addr replace {address} dev {interface}" for address in given.link.addresses]
        lines = [f"{line} nodad" if ":" in line else line for line in lines]
        await _run(*_in(namespace), "ip", "-batch", "-", stdin="\n".join([*lines, f"link set {interface} up", ""]))


def _in(namespace: str) -> list[str]:
    return ["nsenter", f"--net={namespace}"]


async def _run(*command: str, stdin: str = "") -> str:
    """A program's output. OSError: it says what is wrong."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    out, error = await child.communicate(stdin.encode())
    if child.returncode:
        raise OSError(f"{' '.join(command)}: {error.decode(errors='replace').strip()}")
    return out.decode()
