"""Records of pods, containers and devices on disk: another version's, torn, or damaged."""

from crishim import records
from crishim.model import ContainerRecord, PodRecord


def pod(data: bytes) -> None:
    _read(data, PodRecord)


def container(data: bytes) -> None:
    _read(data, ContainerRecord)


def _read(data: bytes, kind: type[PodRecord] | type[ContainerRecord]) -> None:
    """A record is read and written as the same, or UnreadableError says why and the rest is salvaged."""
    try:
        record = records.decode(data, kind)
    except records.UnreadableError:
        assert isinstance(records.salvage(data, kind), dict)
        return
    assert records.decode(records.encode(record), kind) == record


TARGETS = {"pod-record": pod, "container-record": container}
