"""Records that earlier versions wrote are read by this one: tests/records/schemaN, see tests/records/generate.py."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from crishim import records
from crishim.cri import record_checks
from crishim.ids import is_id
from crishim.lifecycle import ContainerState, PodState
from crishim.linux import record_files
from crishim.model import ContainerRecord, PodRecord
from crishim.netdev import adopt
from crishim.netdev.journal import Journal
from crishim.netdev.records import Attachment, State

HERE = Path(__file__).parents[2] / "records"
SCHEMAS = sorted(HERE.glob("schema*"))
KINDS: list[tuple[str, Any, Any, Any]] = [
    ("pods", PodRecord, is_id, record_checks.pod),
    ("containers", ContainerRecord, is_id, record_checks.container),
    ("netdev", Attachment, adopt.is_id, adopt.usable),
]


def read(directory: Path, kind: str) -> dict[str, Any]:
    ((_, type, is_id, usable),) = [k for k in KINDS if k[0] == kind]
    found = record_files.load(directory / kind, type, is_id, usable, tidy=False)
    assert found.unread == {}
    return found.read


def kept(written: dict[str, Any], again: dict[str, Any]) -> dict[str, Any]:
    """Of `again` what the older record had, at any depth: a later version adds fields."""
    return {
        key: kept(value, again[key]) if isinstance(value, dict) else again[key]
        for key, value in written.items()
        if key != "schema"
    }


@pytest.mark.parametrize("directory", SCHEMAS, ids=lambda path: path.name)
def test_every_schema_is_read(directory: Path) -> None:
    """With all that it says: each value of the file is in the record, and is written again."""
    for kind, type, _, _ in KINDS:
        for id, record in read(directory, kind).items():
            written = json.loads((directory / kind / f"{id}.json").read_bytes())
            again = json.loads(records.encode(record))
            assert kept(written, again) == {key: value for key, value in written.items() if key != "schema"}
            assert isinstance(record, type)


@pytest.mark.parametrize("directory", SCHEMAS, ids=lambda path: path.name)
def test_what_the_fixtures_hold(directory: Path) -> None:
    """One of each state in which a record rests, so that a change of any of them is noticed."""
    pods = {r.parse_config().metadata.name: r for r in read(directory, "pods").values()}
    assert {name: r.state for name, r in pods.items()} == {
        "shared": PodState.READY,
        "host": PodState.READY,
        "stopped": PodState.NOTREADY,
    }
    assert pods["shared"].init is not None
    assert pods["shared"].network is not None
    assert pods["shared"].network.ips
    assert pods["host"].handler == "runc"
    containers = {r.parse_config().metadata.name: r for r in read(directory, "containers").values()}
    assert {name: r.state for name, r in containers.items()} == {
        "runs": ContainerState.RUNNING,
        "waits": ContainerState.CREATED,
        "ended": ContainerState.EXITED,
        "host": ContainerState.RUNNING,
    }
    assert (containers["ended"].exit_code, containers["waits"].parse_config().metadata.attempt) == (4, 3)
    (device,) = read(directory, "netdev").values()
    assert (device.state, device.device, device.name) == (State.READY, "fixture0", "net1")
    assert [str(a) for a in device.host.addresses] == ["192.0.2.77/24"]


def test_the_newest_schema_has_its_fixtures() -> None:
    """Who changes a schema makes its records: python -m tests.records.generate."""
    assert {kind.__struct_config__.tag for _, kind, _, _ in KINDS} == {1}
    assert HERE / "schema1" in SCHEMAS
    newest = max(int(re.sub(r"\D", "", path.name)) for path in SCHEMAS)
    assert newest == PodRecord.__struct_config__.tag


# Added since the fixtures were made, with a value for records without: adoption does without them.
LATER_FIELDS: dict[str, set[str]] = {
    "pods": {"announced", "detached", "stop_announced"},
    "containers": {"announced", "stop_unannounced", "restore", "oom_kills_before"},
    "netdev": set(),
}


@pytest.mark.parametrize("directory", SCHEMAS, ids=lambda path: path.name)
def test_what_a_downgrade_stands_on(directory: Path) -> None:
    """Of the same records under a later schema everything can be salvaged that adoption needs."""
    for kind, type, _, _ in KINDS:
        for id, record in read(directory, kind).items():
            tree = json.loads((directory / kind / f"{id}.json").read_bytes())
            later = json.dumps(tree | {"schema": 2, "state": "hibernating", "added": [1]}).encode()
            with pytest.raises(records.UnreadableError, match="has schema 2, this version reads up to 1"):
                records.decode(later, type)
            known = records.salvage(later, type)
            assert "state" not in known
            assert LATER_FIELDS[kind].isdisjoint(known)
            for field in set(type.__struct_fields__) - {"state"} - LATER_FIELDS[kind]:
                assert known[field] == getattr(record, field)


def test_devices_of_a_later_schema(tmp_path: Path) -> None:
    """The journal goes by them, and keeps their files."""
    journal = tmp_path / "netdev"
    journal.mkdir()
    for path in (HERE / "schema1/netdev").iterdir():
        (journal / path.name).write_text(json.dumps(json.loads(path.read_bytes()) | {"schema": 2, "state": "orbiting"}))
    before = {p.name: p.read_bytes() for p in journal.iterdir()}
    one = Journal(journal)
    one.load()
    (found,) = one.all()
    assert (found.state, found.device, found.name) == (State.READY, "fixture0", "net1")
    assert {p.name: p.read_bytes() for p in journal.iterdir()} == before
