"""Settings: parsing, the default file, and paths."""

import contextlib
import os
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cli.default_config import render_default
from crishim.config import (
    Config,
    ConfigError,
    check_paths,
    find_program,
    load,
    parse,
)


def test_nothing_is_the_defaults() -> None:
    """An empty file keeps every default; so does the printed one."""
    assert parse("") == Config()
    assert parse(render_default()) == Config()


def sections(kind: type[msgspec.Struct] = Config, prefix: str = "") -> list[tuple[str, Any]]:
    """(key, type hint) of every setting, sections entered."""
    found = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if name.startswith("__"):
            continue
        inner = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            found += sections(inner, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", hint))
    return found


def test_every_setting_is_described() -> None:
    """Each setting has a description, which is what the default file's comments are made of."""
    text = render_default()
    for key, hint in sections():
        assert get_origin(hint) is Annotated, key
        descriptions = [m.description for m in get_args(hint)[1:] if isinstance(m, msgspec.Meta) and m.description]
        assert descriptions, key
        assert f"# {descriptions[0]}" in text, key


def test_all_keys_are_in_the_default_file() -> None:
    """The printed file has every key, at its place."""
    printed = tomllib.loads(render_default())
    for key, _ in sections():
        table: Any = printed
        *path, last = key.split(".")
        for part in path:
            table = table[part]
        assert last in table, key


BAD_RULES = [
    ("5", ": expected `object`"),
    ("{}", ": object missing required field `devices`"),
    ("{devices = ['a']}", ": object missing required field `namespaces`"),
    ("{devices = [], namespaces = ['*']}", ".devices: expected `array` of length >= 1"),
    ("{devices = 'a', namespaces = ['*']}", ".devices: expected `array`, got `str`"),
    ("{devices = ['a'], namespaces = ['*'], name = 'x'}", ".name: unknown key"),
    ("{devices = [''], namespaces = ['*']}", ".devices: no interface can be called ''"),
    ("{devices = ['a/b'], namespaces = ['*']}", ".devices: no interface can be called 'a/b'"),
    ("{devices = ['a b'], namespaces = ['*']}", ".devices: no interface can be called 'a b'"),
    ("{devices = ['a[0-9'], namespaces = ['*']}", ".devices: no interface can be called 'a[0-9'"),
    ("{devices = ['" + "a" * 128 + "'], namespaces = ['*']}", ".devices: no interface can be called 'aaa"),
    ("{devices = ['a'], namespaces = ['']}", ".namespaces: no namespace can be called ''"),
    ("{devices = ['a'], namespaces = ['a/b']}", ".namespaces: no namespace can be called 'a/b'"),
    ("{devices = ['a'], namespaces = ['*'], kinds = ['']}", ".kinds: '' is no kind of link"),
    ("{devices = ['a'], namespaces = ['*'], kinds = ['bridge']}", ".kinds: a bridge cannot leave the host"),
]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", "not TOML: "),
        ("colour = 1", "colour: unknown key"),
        ("[log]\nlevl = 'info'", "log.levl: unknown key"),
        ("socket = 5", "socket: expected `str`, got `int`"),
        ("[log]\nlevel = 'loud'", "log.level: invalid enum value 'loud'"),
        ("[network]\ntimeout = -1", "network.timeout: "),
        ("[network]\ntimeout = true", "network.timeout: "),
        ("[network]\nplugin_dirs = ['/a', 5]", "network.plugin_dirs[1]: "),
        ("[stream]\nport = 65536", "stream.port: "),
        ("[runtimes]\ndefault = 'x'", "runtimes.default: "),
        ("[runtimes]\nhandlers = 5", "runtimes.handlers: "),
        ("[stream]\ntls_key = '/k'", "stream.tls_cert and stream.tls_key belong together"),
        ("log = 'info'", "log: expected `object`"),
        ("[pods]\ncgroup_parent = 'relative'", "pods.cgroup_parent: "),
        ("[pods]\ncgroup_parent = '/a/../b'", "pods.cgroup_parent: "),
        ("[pods]\ncgroup_parent = '/'", "pods.cgroup_parent: "),
        ("[pods]\ncgroup_parent = '/a\u0085'", "pods.cgroup_parent: "),
        ("[pods]\ncgroup_roots = ['/', 'a']", "pods.cgroup_roots: "),
        ("[pods]\ncgroup_roots = ['/a/./b']", "pods.cgroup_roots: "),
        ("[netdevices]\nnode_addresses = ['10.0.0.300']", "netdevices.node_addresses: '10.0.0.300' is no IP address"),
        *((f"[netdevices]\nallow = [{rule}]", f"netdevices.allow[0]{message}") for rule, message in BAD_RULES),
    ],
)
def test_errors_name_the_key(text: str, message: str) -> None:
    """One line, which begins with the key as it stands in the file."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    """Whatever is in the file: settings, or a ConfigError of one line."""
    with contextlib.suppress(ConfigError):
        assert isinstance(parse(text), Config)


def test_handlers_replace_the_default_ones() -> None:
    """Handlers given are the handlers there are."""
    config = parse("[runtimes]\ndefault = 'k'\n[runtimes.handlers.k]\npath = '/k'\nnetdevices = 'builtin'")
    assert list(config.runtimes.handlers) == ["k"]
    assert config.runtimes.handlers["k"].netdevices == "builtin"


def test_load(tmp_path: Path) -> None:
    """A file is named in its errors; one that is not there or is not text is an error too."""
    good, bad, binary = tmp_path / "good", tmp_path / "bad", tmp_path / "binary"
    good.write_text("drain_timeout = 3")
    bad.write_text("colour = 1")
    binary.write_bytes(b"\xff\xfe")
    assert load(good).drain_timeout == 3
    for path, message in (
        (bad, f"{bad}: colour: unknown key"),
        (binary, f"cannot read {binary}: not UTF-8"),
        (tmp_path / "none", f"cannot read {tmp_path}/none: No such file or directory"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert str(caught.value) == message


@pytest.fixture
def usable(tmp_path: Path) -> Config:
    """Settings whose paths can all be used."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = f"state_dir = '{tmp_path}/s/state'\nrun_dir = '{tmp_path}/run'\nsocket = '{tmp_path}/c.sock'\n"
    text += f"[runtimes]\nconmon = '{program}'\n[runtimes.handlers.crun]\npath = '{program}'\n"
    return parse(text + f"[images]\nskopeo = '{program}'\n")


def changed(config: Config, key: str, value: Any) -> Config:
    section, _, name = key.rpartition(".")
    if not section:
        return msgspec.structs.replace(config, **{name: value})
    return msgspec.structs.replace(
        config, **{section: msgspec.structs.replace(getattr(config, section), **{name: value})}
    )


def test_usable_paths(usable: Config, tmp_path: Path) -> None:
    """A check makes nothing."""
    check_paths(usable)
    assert [p.name for p in tmp_path.iterdir()] == ["program"]


def test_run_dir_is_not_below_state_dir(usable: Config) -> None:
    """Nobody else may enter state_dir, and some have to reach run_dir."""
    for run in (usable.state_dir, usable.state_dir + "/run"):
        with pytest.raises(ConfigError, match=r"^run_dir: .*lies in state_dir"):
            check_paths(changed(usable, "run_dir", run))


@pytest.mark.parametrize("key", ["state_dir", "run_dir", "socket", "images.root"])
@pytest.mark.parametrize("how", ["relative", "below a file", "a file"])
def test_unusable_paths(usable: Config, tmp_path: Path, key: str, how: str) -> None:
    """The line begins with the key."""
    (tmp_path / "file").touch()
    value = {"relative": "x/y", "below a file": f"{tmp_path}/file/x", "a file": f"{tmp_path}/file"}[how]
    with pytest.raises(ConfigError) as caught:
        check_paths(changed(usable, key, value))
    assert str(caught.value).startswith(f"{key}: ")


@pytest.mark.parametrize("key", ["state_dir", "run_dir", "images.root"])
@pytest.mark.parametrize("character", list('[]@+:, "\\'))
def test_directories_images_cannot_lie_in(usable: Config, tmp_path: Path, key: str, character: str) -> None:
    """Characters that end a part of an image reference are refused, except where no image will lie."""
    config = changed(usable, key, f"{tmp_path}/a{character}b")
    with pytest.raises(ConfigError, match=f"^{key}: images cannot lie"):
        check_paths(config)
    if key == "state_dir":
        check_paths(changed(config, "images.root", f"{tmp_path}/images"))


def test_the_sockets_path(usable: Config, tmp_path: Path) -> None:
    """107 bytes at most; an old socket may be there, nothing else."""
    with pytest.raises(ConfigError, match="longer than the 107 bytes"):
        check_paths(changed(usable, "socket", "/" + "x" * 107))
    path = tmp_path / "old"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    check_paths(changed(usable, "socket", str(path)))
    path.unlink()
    path.symlink_to("/no/such")
    with pytest.raises(ConfigError, match=r"^socket: "):
        check_paths(changed(usable, "socket", str(path)))


@pytest.mark.parametrize("key", ["runtimes.conmon", "images.skopeo"])
def test_programs(usable: Config, key: str) -> None:
    """A program that is not there is named with its key."""
    with pytest.raises(ConfigError, match=f"^{key}: there is no program /no/such$"):
        check_paths(changed(usable, key, "/no/such"))


@pytest.mark.parametrize("key", ["images.policy", "images.registries_conf", "stream.tls_cert"])
def test_files(usable: Config, key: str) -> None:
    """A file that is named has to be there."""
    with pytest.raises(ConfigError, match=f"^{key}: /no/such cannot be read$"):
        check_paths(changed(usable, key, "/no/such"))


def test_programs_of_sbin_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where PATH leaves them out; an own PATH goes first."""
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_program("sh")
    assert found is not None
    assert os.path.isabs(found)
    own = tmp_path / "sh"
    own.write_text("")
    own.chmod(0o755)
    assert find_program("sh") == str(own)
    assert find_program("no-such-program") is None
