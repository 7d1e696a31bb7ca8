"""Behind hack/pictures: writes docs/pictures/*.svg. A test holds that the files in the tree are these."""

from collections.abc import Callable
from pathlib import Path

from hack.teaching.pod_start import pod_start
from hack.teaching.scenes import device, namespaces, processes
from hack.teaching.states import states

DIRECTORY = Path(__file__).parents[2] / "docs/pictures"
PICTURES: dict[str, Callable[[], str]] = {
    "states.svg": states,
    "processes.svg": processes,
    "namespaces.svg": namespaces,
    "device.svg": device,
    "pod-start.svg": pod_start,
}


def main() -> None:
    for name, draw in PICTURES.items():
        (DIRECTORY / name).write_text(draw())


if __name__ == "__main__":
    main()
