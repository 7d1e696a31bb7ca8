"""Prepared claims. Each is one CDI 1.1 file, and the files are all that is known of them: a restart loses nothing."""

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
    def __init__(self, directory: Path, driver: str) -> None:
        self._directory, self._driver = directory, driver
        directory.mkdir(parents=True, exist_ok=True)

    def id(self, uid: str, device: str) -> str:
        """The CDI name of a claim's device."""
        return f"{self._driver}/claim={uid}-{device}"

    def write(self, uid: str, devices: dict[str, Given]) -> None:
        """Replace a claim's file. devices: by the name of the host link."""
        entries = [
            {
                "name": f"{uid}-{name}",
                "annotations": {f"{self._driver}/given": json.dumps(dataclasses.asdict(given))},
                "containerEdits": {"netDevices": [{"hostInterfaceName": name, "name": given.interface}]},
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
            yield entry["containerEdits"]["netDevices"][0]["hostInterfaceName"], given

    def _file(self, uid: str) -> Path:
        return self._directory / f"{self._driver}-{uid}.json"
