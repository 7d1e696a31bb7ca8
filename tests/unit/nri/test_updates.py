"""crishim/nri/updates.py and resources.py"""

import pytest
from hypothesis import given

from crishim.errors import CrishimError, Kind
from crishim.nri.updates import Updates
from crishim.pb import nri_pb2 as nri
from tests.unit.nri.messages import messages

Resources = nri.LinuxResources


def shares(value: int) -> nri.LinuxResources:
    return Resources(cpu=nri.LinuxCPU(shares=nri.OptionalUInt64(value=value)))


def memory(value: int) -> nri.LinuxResources:
    return Resources(memory=nri.LinuxMemory(limit=nri.OptionalInt64(value=value)))


def update(container: str, resources: nri.LinuxResources, *, ignore: bool = False) -> nri.ContainerUpdate:
    return nri.ContainerUpdate(
        container_id=container, linux=nri.LinuxContainerUpdate(resources=resources), ignore_failure=ignore
    )


@given(messages(nri.LinuxResources))
def test_one_update_comes_out_as_it_is(resources: nri.LinuxResources) -> None:
    """Every field; of page sizes that come twice, conflicts are shown below."""
    sizes = {limit.page_size: limit for limit in resources.hugepage_limits}
    del resources.hugepage_limits[:]
    resources.hugepage_limits.extend(limit for size, limit in sizes.items())
    updates = Updates()
    updates.collect("00-a", update("c", resources))
    (found,) = updates.others()
    for part in ("memory", "cpu"):
        if not getattr(resources, part).ListFields():
            resources.ClearField(part)
            found.linux.resources.ClearField(part)
    assert found.linux.resources == resources


def test_updates_of_one_container_become_one() -> None:
    """It may fail only if nobody minds."""
    updates = Updates()
    updates.collect("00-a", update("c", shares(5), ignore=True))
    updates.collect("00-a", update("d", shares(5), ignore=True))
    updates.collect("01-b", update("c", memory(7)))
    first, second = updates.others()
    both = shares(5)
    both.MergeFrom(memory(7))
    assert first == update("c", both)
    assert second == update("d", shares(5), ignore=True)


def test_a_conflict_is_an_error_or_is_left_out() -> None:
    """Left out as a whole: what of it would not conflict is not done, and claims nothing."""
    updates = Updates()
    updates.collect("00-a", update("c", shares(5)))
    with pytest.raises(CrishimError) as caught:
        updates.collect("01-b", update("c", shares(6)))
    assert str(caught.value) == 'plugins "01-b" and "00-a" both tried to set CPUShares'
    both = shares(6)
    both.MergeFrom(memory(7))
    updates.collect("01-b", update("c", both, ignore=True))
    assert list(updates.others()) == [update("c", shares(5))]
    updates.collect("02-c", update("c", memory(8)))
    assert updates.others()[0].linux.resources.memory.limit.value == 8


def test_the_container_being_created_is_not_updated() -> None:
    with pytest.raises(CrishimError, match='plugin "00-a" asked update of "new" during creation') as caught:
        Updates(creating="new").collect("00-a", update("new", shares(5), ignore=True))
    assert caught.value.kind == Kind.INVALID
    with pytest.raises(CrishimError, match="without an id"):
        Updates().collect("00-a", update("", shares(5)))


def test_plugins_change_what_an_update_asks_for() -> None:
    """The request is the base, nobody owns it; the container itself is not among the others."""
    requested = shares(5)
    requested.MergeFrom(memory(7))
    updates = Updates(updating="c", requested=requested)
    updates.collect("00-a", update("c", shares(6)))
    updates.collect("01-b", update("d", shares(1)))
    assert updates.requested.cpu.shares.value == 6
    assert updates.requested.memory.limit.value == 7
    assert requested.cpu.shares.value == 5
    assert [u.container_id for u in updates.others()] == ["d"]
    with pytest.raises(CrishimError, match="both tried to set CPUShares"):
        updates.collect("01-b", update("c", shares(7)))


def test_a_page_size_has_one_limit() -> None:
    def pages(limit: int) -> nri.LinuxResources:
        return Resources(hugepage_limits=[nri.HugepageLimit(page_size="2MB", limit=limit)])

    updates = Updates(updating="c", requested=pages(1))
    updates.collect("00-a", update("c", pages(2)))
    assert updates.requested == pages(2)
    with pytest.raises(CrishimError, match="both tried to set HugepageLimits 2MB"):
        updates.collect("01-b", update("c", pages(3)))
    assert set(updates.owners()["c"].compound) == {24}
