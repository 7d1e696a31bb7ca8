"""What stands for an attachment whose record cannot be read."""

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from crishim import records
from crishim.linux import record_files
from crishim.linux.netlink.addresses import Address
from crishim.linux.record_files import Unread
from crishim.netdev.adopt import boot_id, is_id, stand_in, usable
from crishim.netdev.records import Attachment, Captured, Mover, State
from tests.unit.netdev.fake_links import attachment

BROKEN = Address(family=2, prefix=24, scope=0, flags=0, attributes=b"")  # without an address in it


def unread(known: Attachment | None = None, **salvaged: object) -> Unread:
    fields = records.salvage(records.encode(known), Attachment) if known else {}
    return Unread("0123456789abcdef", Path("/journal/x.json"), "is newer", {**fields, **salvaged})


def test_the_boot_id() -> None:
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", boot_id())


def test_ids() -> None:
    assert is_id("0123456789abcdef")
    assert not is_id("0123456789abcdef0")
    assert not is_id("x")
    assert not is_id("")


def test_values_nobody_could_work_with() -> None:
    usable(attachment())
    with pytest.raises(KeyError):
        usable(attachment(host=Captured(index=5, name="demo0", addresses=(BROKEN,))))


@pytest.mark.parametrize("state", State)
def test_a_records_own_fields(state: State) -> None:
    """It is READY unless it was on its way back, or is not attached any more."""
    found = stand_in(unread(attachment(mover=Mover.RUNTIME, state=state)), None)
    assert found is not None
    on_its_way = state in (State.RETURNING, State.LOST, State.DOWN)
    assert found.state is (state if on_its_way else State.READY)
    assert (found.mover, found.id, found.host.name) == (Mover.RUNTIME, "0123456789abcdef", "demo0")


def test_what_an_older_record_does_not_say() -> None:
    known = unread(attachment())
    for field in ("mover", "sources", "wanted", "boot"):
        known.salvaged.pop(field, None)
    found = stand_in(known, None)
    assert found is not None
    assert (found.mover, found.sources, found.wanted, found.boot) == (Mover.BUILTIN, (), "", boot_id())


def test_the_copy(tmp_path: Path) -> None:
    """For what the record does not tell, and alone if the record leads to nothing usable."""
    copy = attachment(host=Captured(index=5, name="copied"), sources=("copy",))
    record_files.write(tmp_path / "0123456789abcdef.json", copy)
    found = stand_in(unread(sources=("record",)), tmp_path)
    assert found is not None
    assert (found.host.name, found.sources) == ("copied", ("record",))
    broken = replace(copy, host=Captured(index=5, name="broken", addresses=(BROKEN,)))
    found = stand_in(unread(broken), tmp_path)
    assert found is not None
    assert (found.host.name, found.sources) == ("copied", ("copy",))
    assert stand_in(unread(broken), None) is None
    assert stand_in(unread(sources=()), tmp_path / "none") is None
