"""Driving an OCI runtime, with one that is a small script."""

from pathlib import Path

import pytest

from crishim.engine.handlers import Handlers, remember
from crishim.engine.runtime import Runtime, classify, decode_features, error_message, moves_devices
from crishim.errors import CrishimError, Kind


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("executable file `nope` not found in $PATH: No such file or directory", Kind.INVALID),
        ('exec: "nope": executable file not found in $PATH', Kind.INVALID),
        ("write config.json: No space left on device", Kind.EXHAUSTED),
        ("mkdir: Disk quota exceeded", Kind.EXHAUSTED),
        ("unshare: Operation not permitted", Kind.INTERNAL),
        ("", Kind.INTERNAL),
    ],
)
def test_complaints(said: str, kind: Kind) -> None:
    """What is the request's fault, and what is the node's."""
    assert classify(said) is kind


@pytest.mark.parametrize(
    ("features", "yes"),
    [
        ({}, False),
        ({"linux": {}}, False),
        ({"linux": None}, False),
        ({"linux": {"netDevices": None}}, False),
        ({"linux": {"netDevices": {"enabled": False}}}, False),
        ({"linux": {"netDevices": {"enabled": "true"}}}, False),
        ({"linux": {"netDevices": {"enabled": True}}}, True),
    ],
)
def test_who_moves_devices(features: dict[str, object], yes: bool) -> None:
    """Only a runtime that says so in full."""
    assert moves_devices(features) is yes


@pytest.mark.parametrize("stdout", [b"", b"text", b"[]", b"5", b'"x"'])
def test_features_that_are_none(stdout: bytes) -> None:
    """An empty object."""
    assert decode_features(stdout) == {}


def runtime(tmp_path: Path, script: str, timeout: float = 5, name: str = "fake", systemd: bool = False) -> Runtime:
    path = tmp_path / name
    path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{script}\n')
    path.chmod(0o755)
    return Runtime("fake", str(path), tmp_path / "root", timeout=timeout, systemd=systemd)


async def test_commands(tmp_path: Path) -> None:
    """Each with the handler's own root, and --systemd-cgroup where systemd makes cgroups."""
    fake = runtime(tmp_path, 'echo \'{"status": "running"}\'', systemd=True)
    (tmp_path / "root/c1").mkdir(parents=True)
    await fake.delete("c2")  # it has no state of that one: there is nothing to run a program for
    await fake.start("c1")
    assert await fake.state("c1") == "running"
    await fake.delete("c1")
    await fake.update("c1", {"memory": {"limit": 5}})
    head = f"--root={tmp_path}/root --systemd-cgroup"
    assert (tmp_path / "calls").read_text().splitlines() == [
        f"{head} start c1",
        f"{head} state c1",
        f"{head} delete --force c1",
        f"{head} update --resources - c1",
    ]


async def test_what_is_dead_is_only_forgotten(tmp_path: Path) -> None:
    """Without --force, unless the runtime says that it lives."""
    fake = runtime(
        tmp_path, 'case "$*" in *lives*) case "$*" in *force*) ;; *) echo not stopped >&2; exit 1;; esac;; esac'
    )
    for id in ("ended", "lives"):
        (tmp_path / "root" / id).mkdir(parents=True)
        await fake.delete(id, dead=True)
    head = f"--root={tmp_path}/root"
    assert (tmp_path / "calls").read_text().splitlines() == [
        f"{head} delete ended",
        f"{head} delete lives",
        f"{head} delete --force lives",
    ]


async def test_failures(tmp_path: Path) -> None:
    """Its words in one line; a container that is gone is no failure of delete, and no state."""
    fake = runtime(tmp_path, "echo 'first line\nsecond' >&2; exit 1")
    with pytest.raises(CrishimError) as caught:
        await fake.start("c" * 64)
    assert caught.value.message == f"fake cannot start container {'c' * 13}: first line second"
    assert await fake.state("c1") == ""
    (tmp_path / "root/c1").mkdir(parents=True)
    with pytest.raises(CrishimError, match="fake cannot delete container"):
        await fake.delete("c1")
    gone = runtime(tmp_path, "echo 'container does not exist' >&2; exit 1")
    await gone.delete("c1")
    slow = runtime(tmp_path, "exec sleep 60", timeout=0.1)
    with pytest.raises(CrishimError) as caught:
        await slow.start("c1")
    assert caught.value.kind is Kind.DEADLINE


async def test_features(tmp_path: Path) -> None:
    """Asked once; a runtime without the command has none, but an old crun's are known."""
    fake = runtime(tmp_path, "echo '{\"a\": 1}'")
    assert await fake.features() == await fake.features() == {"a": 1}
    assert (tmp_path / "calls").read_text().splitlines() == ["features"]
    assert await runtime(tmp_path, "exit 1").features() == {}
    old = await runtime(tmp_path, "exit 1", name="crun").features()
    assert "rro" in old["mountOptions"]
    assert not moves_devices(old)


async def test_known(tmp_path: Path) -> None:
    """The directories of its root; none if there is no root yet."""
    fake = runtime(tmp_path, "")
    assert await fake.known() == set()
    (tmp_path / "root/c1").mkdir(parents=True)
    (tmp_path / "root/file").touch()
    assert await fake.known() == {"c1"}


def test_handlers(tmp_path: Path) -> None:
    """By name, "" for the default one; an unknown one is INVALID and the text lists those there are."""
    one, two = runtime(tmp_path, ""), runtime(tmp_path, "")
    handlers = Handlers({"b": one, "a": two}, "b")
    assert handlers.offered("") is handlers.get("b") is one
    assert handlers.all_offered() == list(handlers) == [one, two]
    for look in (handlers.offered, handlers.get):
        with pytest.raises(CrishimError) as caught:
            look("c")
        assert caught.value.kind is Kind.INVALID
        assert caught.value.message == "runtime handler 'c' is not configured; there are: a, b"


def test_a_retired_handler(tmp_path: Path) -> None:
    """It serves what it made, and is not offered to new pods."""
    one, two = runtime(tmp_path, ""), runtime(tmp_path, "")
    handlers = Handlers({"a": one}, "a", {"b": two})
    assert handlers.get("b") is two
    assert list(handlers) == [one, two]
    assert handlers.all_offered() == [one]
    with pytest.raises(CrishimError, match=r"'b' is not configured; there are: a$"):
        handlers.offered("b")


def test_retired_programs(tmp_path: Path) -> None:
    """A handler that left the settings is remembered while its runtime has containers."""
    links, states = tmp_path / "links", tmp_path / "states"
    assert remember(links, {"a": "/old/a", "b": "/bin/b", "c": "/bin/c"}, states) == {}
    (states / "b/container").mkdir(parents=True)
    assert remember(links, {"a": "/bin/a"}, states) == {"b": "/bin/b"}
    (states / "a/container").mkdir(parents=True)
    assert remember(links, {"b": "/new/b"}, states) == {"a": "/bin/a"}
    (states / "b/container").rmdir()
    (states / "a/container").rmdir()
    assert remember(links, {"d": "/bin/d"}, states) == {}
    assert [p.name for p in links.iterdir()] == ["d"]


def test_what_is_no_note_of_a_program(tmp_path: Path) -> None:
    """A file or directory among the links is another version's, or damage: passed over, and replaced where it stands
    in the way."""
    links = tmp_path / "links"
    links.mkdir()
    (links / "kata").mkdir()
    (links / "format").write_text("2")
    (links / "a").mkdir()
    assert remember(links, {"a": "/bin/a"}, tmp_path / "states") == {}
    assert (links / "a").readlink() == Path("/bin/a")
    assert sorted(p.name for p in links.iterdir()) == ["a", "format", "kata"]


RUNC = b'time="2026-11-21T15:07:31Z" level='


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        (RUNC + b'error msg="container does not exist"\n', "container does not exist"),
        (RUNC + b"fatal msg=plain\n", "plain"),
        (RUNC + b'warning msg="that too"\n' + RUNC + b'error msg="exec: \\"no\\":\\n none"\n', 'exec: "no": none'),
        (RUNC + b'warning msg="only that"\n', 'time="2026-11-21T15:07:31Z" level=warning msg="only that"'),
        (b"2026-11-21 crun: cannot\nstart\n", "2026-11-21 crun: cannot start"),
        (b"", ""),
    ],
)
def test_words(stderr: bytes, said: str) -> None:
    """Of runc's log lines the last error's message, without its quoting; of others all."""
    assert error_message(stderr) == said
