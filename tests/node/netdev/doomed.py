"""A daemon that dies: does what its arguments say to a pod's device, and kills itself at the point they name.

Arguments: the lab's directory, the kit's name, the pod as JSON, the point; and where they are not this pod alone and
demo0, all pods as JSON and the device. It is run as a program of its own, so that
SIGKILL takes nothing else with it.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from crishim.linux.netlink import links
from crishim.netdev import address_sync, restore, return_device, transaction
from crishim.netdev.journal import Journal
from crishim.netdev.records import PodRef, State
from tests.node.netdev.lab import Lab
from tests.node.netdev.runtimes import kits


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def around(owner: Any, name: str, *, before: Callable[..., bool] | None = None, after: bool = False) -> None:
    original = getattr(owner, name)

    def wrapped(*args: Any, **options: Any) -> Any:
        if before is not None and before(*args):
            die()
        result = original(*args, **options)
        if after:
            die()
        return result

    setattr(owner, name, wrapped)


def reaching(state: State) -> Callable[..., bool]:
    return lambda journal, attachment, target: target is state


def reached(state: State) -> None:
    """Die when the state is on disk."""
    original = Journal.advance

    def advance(journal: Journal, attachment: Any, target: State, **changes: Any) -> Any:
        result = original(journal, attachment, target, **changes)
        if target is state:
            die()
        return result

    cls: Any = Journal
    cls.advance = advance


ATTACH: dict[str, Callable[[], None]] = {
    "INTENT on disk": lambda: around(Journal, "open", after=True),
    "altname on the link": lambda: around(transaction, "mark", after=True),
    "moved, MOVED not on disk": lambda: around(Journal, "advance", before=reaching(State.MOVED)),
    "MOVED on disk": lambda: reached(State.MOVED),
    "verified, READY not on disk": lambda: around(Journal, "advance", before=reaching(State.READY)),
    "READY on disk": lambda: reached(State.READY),
}
RETURN: dict[str, Callable[[], None]] = {
    "RETURNING on disk": lambda: reached(State.RETURNING),
    "link mended in the pod": lambda: around(restore, "_restore_in_pod", after=True),
    "back on the host, bare": lambda: around(links, "move", after=True),
    "all back, none restored": lambda: around(return_device, "restore", before=lambda *_: True),
    "flags restored": lambda: around(links, "set_flags", after=True),
    "addresses restored": lambda: around(address_sync, "make_equal", after=True),
    "all restored, DONE not on disk": lambda: around(Journal, "advance", before=reaching(State.DONE)),
    "DONE": lambda: reached(State.DONE),
}


async def main(
    directory: str, kit_name: str, pod_json: str, point: str, pods_json: str = "", device: str = "demo0"
) -> None:
    kit = next(k for k in kits() if k.name == kit_name)
    lab = Lab(kit, Path(directory))
    pod = msgspec.json.decode(pod_json, type=PodRef)
    await lab.devices.recover(msgspec.json.decode(pods_json, type=list[PodRef]) if pods_json else [pod])
    if point in ATTACH:
        ATTACH[point]()
    await lab.attach(pod, *((name, f"net{i}") for i, name in enumerate(device.split(","), 1)), run=False)
    RETURN[point]()
    await lab.devices.return_devices(pod)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
