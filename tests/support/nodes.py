"""A Node for tests without root: real records, names, locks and tasks; of the drivers, those that a test gives."""

import dataclasses
from pathlib import Path
from typing import Any

import msgspec

from crishim.base_node import CurrentSettings
from crishim.config import Config
from crishim.cri import record_checks
from crishim.node import Node, load_records, stores
from crishim.nri.plugins import DriverSettings, Plugins
from crishim.operations.adopt import Adoption
from crishim.operations.tasks import Tasks
from crishim.state.locks import Locks
from crishim.state.names import Names
from crishim.state.subscribers import Subscribers
from crishim.traces import Traces


class Absent:
    """A driver that the test does not expect to be used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        raise AssertionError(f"node.{self._name}.{attribute} is used, and the test gives no node.{self._name}")


def make_node(directory: Path, **drivers: Any) -> Node:
    """A node with its state and run directories below `directory`. drivers: by field of Node."""
    state, run = directory / "state", directory / "run"
    state.mkdir(parents=True, exist_ok=True)
    pods, containers = stores(state, record_checks)
    names = Names()
    load_records(pods, containers, names, Adoption(run, "/crishim-of-a-test", "crun"))
    fields: dict[str, Any] = {field.name: Absent(field.name) for field in dataclasses.fields(Node)}
    fields |= {
        "config": msgspec.structs.replace(Config(), state_dir=str(state), run_dir=str(run)),
        "began": 0,
        "pods": pods,
        "containers": containers,
        "names": names,
        "locks": Locks(),
        "tasks": Tasks(),
        "traces": Traces(),
        "subscribers": Subscribers(),
        "nri": Plugins(DriverSettings(socket=None, plugin_directory=None)),
    }
    fields["settings"] = CurrentSettings(fields["config"])
    return Node(**fields | drivers)
