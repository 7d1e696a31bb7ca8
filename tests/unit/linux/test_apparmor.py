"""The default profile is loaded when it is needed, by a parser that is there, and only then."""

import os
from pathlib import Path

import pytest

from crishim.errors import CrishimError, Kind
from crishim.linux import apparmor
from crishim.spec import bundle

# Stands for apparmor_parser: notes its arguments and input, and has the kernel know the profile.
PARSER = """#!/bin/sh
echo "$@" >> {calls}
cat > {text}
[ ! -e {refuse} ] || {{ echo "Access denied. You need policy admin privileges" >&2; exit 1; }}
echo 'crishim-default (enforce)' >> {loaded}
"""


class Host:
    """A directory with a parser first on PATH, and the kernel's list."""

    def __init__(self, directory: Path) -> None:
        self.loaded = directory / "loaded"
        self.loaded.write_text("lsb_release (enforce)\n")
        self.calls, self.text, self.refuse = directory / "calls", directory / "text", directory / "refuse"
        self.parser = directory / "bin" / apparmor.PARSER
        self.parser.parent.mkdir()
        self.parser.write_text(PARSER.format(**{k: v for k, v in vars(self).items() if k != "parser"}))
        self.parser.chmod(0o755)

    def called(self) -> int:
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0

    def profile(self, name: str = apparmor.OWN) -> apparmor.DefaultProfile:
        return apparmor.DefaultProfile(name, b"profile crishim-default {}\n", self.loaded)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setenv("PATH", f"{made.parser.parent}:{os.environ['PATH']}")
    return made


async def test_it_is_loaded_once(host: Host) -> None:
    """The first container that needs it has it loaded, from the text it was given; the second finds it."""
    profile = host.profile()
    assert [await profile.ready(), await profile.ready()] == [apparmor.OWN] * 2
    assert host.called() == 1
    assert host.text.read_text() == "profile crishim-default {}\n"


async def test_it_is_loaded_again_after_it_was_unloaded(host: Host) -> None:
    """aa-remove-unknown, aa-teardown."""
    profile = host.profile()
    await profile.ready()
    host.loaded.write_text("")
    assert await profile.ready() == apparmor.OWN
    assert host.called() == 2


async def test_an_older_version_is_replaced(host: Host) -> None:
    """What an earlier daemon loaded may be another text."""
    host.loaded.write_text("crishim-default (enforce)\n")
    await host.profile().ready()
    assert host.called() == 1


async def test_a_refusal_is_an_error(host: Host) -> None:
    """A container must not run unconfined for it; the next one tries again."""
    host.refuse.touch()
    profile = host.profile()
    with pytest.raises(CrishimError, match="policy admin"):
        await profile.ready()
    host.refuse.unlink()
    assert await profile.ready() == apparmor.OWN


async def test_another_profile_must_be_loaded(host: Host) -> None:
    """One that the administrator names is his to load."""
    assert await host.profile("lsb_release").ready() == "lsb_release"
    with pytest.raises(CrishimError, match=r"'mine' of runtimes\.apparmor_profile is not loaded") as caught:
        await host.profile("mine").ready()
    assert caught.value.kind is Kind.PRECONDITION
    assert host.called() == 0


async def test_no_profile(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the setting, or for want of a parser, as under containerd."""
    assert await host.profile("").ready() == ""
    monkeypatch.setattr(apparmor, "find_program", lambda name: None)
    assert await host.profile().ready() == ""


def test_the_bundled_profile_has_the_name() -> None:
    """What is loaded is what containers are given."""
    assert f"\nprofile {apparmor.OWN} ".encode() in bundle.read("apparmor.profile")
