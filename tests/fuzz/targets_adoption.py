"""What is on disk beside a record, or in its place: attachments, exit files, and everything adoption reads."""

import atexit
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

from crishim import records
from crishim.cri import record_checks
from crishim.engine import conmon
from crishim.linux import process_trees, record_files
from crishim.linux.record_files import Unread
from crishim.netdev import adopt
from crishim.netdev.records import Attachment, State
from crishim.node import stores
from crishim.operations.adopt import NOTE, Adoption

ID = "a" * 64
_places: list[Path] = []


def _ground() -> Path:
    """A node's directories, made once a process, in memory where that is to be had."""
    if not _places:
        base = "/dev/shm" if Path("/dev/shm").is_dir() else None
        place = Path(tempfile.mkdtemp(prefix="crishim-fuzz-", dir=base))
        for name in ("state/pods", "state/containers", f"run/pods/{ID}", f"run/containers/{ID}", "copies"):
            (place / name).mkdir(parents=True)
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        _places.append(place)
    return _places[0]


def attachment(data: bytes) -> None:
    """Read and written as the same, or what stands for it holds its device; from the copy if there is one."""
    try:
        record = records.decode(data, Attachment)
        adopt.usable(record)
    except records.UnreadableError:
        fields = records.salvage(data, Attachment)
    except Exception:  # as record_files.load(): well-formed, and of no use
        fields = records.salvage(data, Attachment)
    else:
        assert records.decode(records.encode(record), Attachment) == record
        return
    copies = _ground() / "copies"
    (copies / "ab.json").write_bytes(data)
    for known in (fields, {}):
        found = adopt.stand_in(Unread("ab", copies / "ab.json", "is damaged", known), copies)
        if found is not None:
            assert found.state in (State.READY, State.RETURNING, State.LOST, State.DOWN)
            adopt.usable(found)


def exit_file(data: bytes) -> None:
    """A code that fits into ContainerStatus.exit_code, or none."""
    bundle = _ground() / "run/containers" / ID
    (bundle / "exit").write_bytes(data)
    found = conmon.exit_record(bundle)
    (bundle / "exit").unlink()
    assert found is None or -(1 << 31) <= found[0] < 1 << 31


def adopted(data: bytes) -> None:
    """The same bytes in every place that adoption looks at: what comes of it can be listed."""
    place = _ground()
    run = place / "run"
    for path in (place / "state/pods" / f"{ID}.json", place / "state/containers" / f"{ID}.json"):
        path.write_bytes(data)
    for name in (record_files.COPY, "config.json", "conmon.pid", "pidfile"):
        (run / "containers" / ID / name).write_bytes(data)
    (run / "pods" / ID / record_files.COPY).write_bytes(data)
    pods, containers = stores(place / "state", record_checks)
    with patch.object(process_trees, "command_lines", dict):  # of this machine: no part of the input
        pods.load()
        containers.load()
        Adoption(run, "/crishim", "crun").run(pods, containers)
    for pod in pods:
        record_checks.pod(pod)
        assert pods.is_adopted(ID) == (NOTE in pod.parse_config().annotations)
    for container in containers:
        record_checks.container(container)
        assert containers.is_adopted(ID) == (NOTE in container.parse_config().annotations)
    assert [p.id for p in pods] == [c.id for c in containers] == [ID]


TARGETS = {"attachment-record": attachment, "exit-file": exit_file, "adoption": adopted}
