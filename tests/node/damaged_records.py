"""Ways in which a record on disk can be one that this version cannot read, and what there is to compare."""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crishim.operations.adopt import NOTE
from tests.support.daemon import Daemon, eventually


def newer(data: dict[str, Any]) -> dict[str, Any]:
    """As a later version may write it: schema + 1, fields and values nobody knows here."""
    return data | {"schema": 2, "state": "hibernating", "weather": {"rain": [1]}, "user": {"uid": "root"}, "init": 7}


def rewrite(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(change(json.loads(path.read_bytes()))))


def into_link(path: Path) -> None:
    path.rename(path.parent.parent / path.name)
    path.symlink_to(path.parent.parent / path.name)


def into(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


def garbled(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"config": base64.b64encode(b"\x0a\xff\xff\xff").decode(), "state": 1}


DAMAGE: dict[str, Callable[[Path], object]] = {
    "newer": rewrite(newer),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:300]),
    "zeroes": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "another type": lambda path: path.write_text('["schema", 1]'),
    "no sense": rewrite(lambda data: data | {"created_at": 1 << 63}),
    "garbled": rewrite(garbled),
    "gone": Path.unlink,
    "another's": rewrite(lambda data: data | {"id": "e" * 64}),
    "too large": lambda path: os.truncate(path, 1 << 40),
    "link": into_link,
    "fifo": into(os.mkfifo),
    "directory": into(lambda path: (path / "x").mkdir(parents=True)),
}


def record(daemon: Daemon, kind: str, id: str) -> Path:
    return daemon.state / kind / f"{id}.json"


def restart(daemon: Daemon, damage: dict[Path, Callable[[Path], object]]) -> None:
    daemon.kill()
    for path, hurt in damage.items():
        hurt(path)
    daemon.start()


def labelled(name: str) -> dict[str, str]:
    """The labels without which a kubelet knows no container again."""
    return {"io.kubernetes.container.name": name, "io.kubernetes.pod.uid": "u", "own": "\u00e9"}


def without_note(message: Any) -> bytes:
    """A listed pod or container, but for the note that its record is unreadable."""
    copy = type(message).FromString(message.SerializeToString())
    copy.annotations.pop(NOTE, None)
    return bytes(copy.SerializeToString(deterministic=True))


def listed(daemon: Daemon) -> dict[str, bytes]:
    found = [*daemon.call("ListContainers").containers, *daemon.call("ListPodSandbox").items]
    return {m.id: without_note(m) for m in found}


def no_record_remains(daemon: Daemon) -> None:
    """Wait until all that was removed is gone: it is taken away after the answer."""

    def remains() -> list[str]:
        return [p.name for kind in ("pods", "containers", "netdev") for p in (daemon.state / kind).iterdir()]

    eventually(lambda: not remains(), "no record is left")
