"""Prepared claims. Each is one file, and the files are all that is known of them: a restart loses nothing.

They are CDI 1.1 files, which the runtime reads; in the mode in which an NRI plugin moves the links (mover.py) they have
the same form, no edits, and lie where only the driver looks.
"""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hack.dra.links import Link


@dataclass(frozen=True)
class Given:
    """A host link that a claim gives to a pod."""

    link: Link  # as it was on the host
    interface: str  # its name in the pod
    pod: str  # uid


class Prepared:
    def __init__(self, directory: Path, driver: str, *, edits: bool = True) -> None:
        """edits: whether the files tell the runtime to move the links."""
        self._directory, self._driver, self._edits = directory, driver, edits
        directory.mkdir(parents=True, exist_ok=True)

    def ids(self, uid: str, device: str) -> list[str]:
        """The CDI names of a claim's device: one, none without edits."""
        return [f"{self._driver}/claim={uid}-{device}"] if self._edits else []

    def write(self, uid: str, devices: dict[str, Given]) -> None:
        """Replace a claim's file. devices: by the name of the host link."""
        entries = [
            {
                "name": f"{uid}-{name}",
                "annotations": {f"{self._driver}/given": json.dumps({"name": name, **dataclasses.asdict(given)})},
                "containerEdits": {"netDevices": [{"hostInterfaceName": name, "name": given.interface}]}
                if self._edits
                else {},
            }
            for name, given in devices.items()
        ]
        path = self._file(uid)
        waiting = path.with_suffix(".new")
        waiting.write_text(json.dumps({"cdiVersion": "1.1.0", "kind": f"{self._driver}/claim", "devices": entries}))
        waiting.rename(path)

    def of(self, uid: str) -> dict[str, Given]:
        """A claim's devices, none if it is not prepared."""
        path = self._file(uid)
        return dict(self._read(path)) if path.exists() else {}

    def all(self) -> dict[str, Given]:
        return {
            name: given for path in self._directory.glob(f"{self._driver}-*.json") for name, given in self._read(path)
        }

    def remove(self, uid: str) -> None:
        self._file(uid).unlink(missing_ok=True)

    def _read(self, path: Path) -> Iterator[tuple[str, Given]]:
        for entry in json.loads(path.read_text())["devices"]:
            known = json.loads(entry["annotations"][f"{self._driver}/given"])
            given = Given(Link(**known["link"]), known["interface"], known["pod"])
            yield known["name"], given

    def _file(self, uid: str) -> Path:
        return self._directory / f"{self._driver}-{uid}.json"
