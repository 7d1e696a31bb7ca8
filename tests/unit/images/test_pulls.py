"""The list of pulls under way, and what the log says of them."""

import asyncio
import logging
from pathlib import Path

import pytest

from crishim.images import pulls
from crishim.images.pulls import Pulls, size_of_files
from tests.support.eventually import eventually


async def unknown() -> int:
    return 0


async def test_listed_while_it_lasts(tmp_path: Path) -> None:
    """Pulls are listed oldest first with what lies in their directories, and are gone afterwards, failed ones too."""
    pulls = Pulls()
    async with pulls.following("a:1", unknown) as first, pulls.following("b:1", unknown):
        assert [(p.image, p.fetched, p.total) for p in await pulls.now()] == [("a:1", 0, 0), ("b:1", 0, 0)]
        first.scratch = tmp_path
        (tmp_path / "storage").mkdir()
        (tmp_path / "storage/1").write_bytes(b"12345")
        assert [p.fetched for p in await pulls.now()] == [5, 0]
        (tmp_path / "storage/1").unlink()
        assert [p.fetched for p in await pulls.now()] == [5, 0]
    with pytest.raises(OSError, match="no"):
        async with pulls.following("c:1", unknown):
            raise OSError("no")
    assert await pulls.now() == []
    assert len(asyncio.all_tasks()) == 1


async def test_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A pull that takes a while is in the log with its bytes and the total."""
    monkeypatch.setattr(pulls, "ASK_AFTER", 0.0)
    monkeypatch.setattr(pulls, "LOG_EVERY", 0.001)
    caplog.set_level(logging.INFO)
    (tmp_path / "1").write_bytes(b"12345")

    async def total() -> int:
        return 7

    async with Pulls().following("a:1", total) as pull:
        pull.scratch = tmp_path
        await eventually(lambda: caplog.records and vars(caplog.records[-1])["bytes"] == 5)
    said = [vars(record) for record in caplog.records]
    assert (said[-1]["image"], said[-1]["bytes"], said[-1]["total"]) == ("a:1", 5, 7)


async def test_short_pull_asks_nothing() -> None:
    """A pull that ends at once costs the registry no question."""
    asked = []

    async def total() -> int:
        asked.append(1)
        return 7

    async with Pulls().following("a:1", total):
        await asyncio.sleep(0)
    assert asked == []


def test_size_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links count as what they are, what is not there as nothing, and a directory without end is given up."""
    assert size_of_files(tmp_path / "gone") == 0
    (tmp_path / "layout").symlink_to("/usr")
    assert size_of_files(tmp_path) < 100
    monkeypatch.setattr(pulls, "MAX_FILES", 3)
    for number in range(10):
        (tmp_path / f"file{number}").write_bytes(b"1" * 1000)
    assert size_of_files(tmp_path) <= 3000
