"""Settings from a file and its drop-ins, and where each came from."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cli.show_config import render
from crishim.config import ConfigError, parse
from crishim.config_files import ConfigFile, drop_ins, load, settings_of, sources


def write(directory: Path, **files: str) -> Path:
    """config.toml and drop-ins; the path of the first."""
    (directory / "config.d").mkdir()
    main = directory / "config.toml"
    for name, text in files.items():
        (main if name == "main" else directory / "config.d" / f"{name}.toml").write_text(text)
    return main


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


def test_drop_ins_are_read_by_name(tmp_path: Path) -> None:
    """The later name wins, key by key; a list is replaced as a whole; what none says keeps its default."""
    main = write(
        tmp_path,
        main="drain_timeout = 3\n[log]\nlevel = 'debug'\nformat = 'json'\n[images]\npinned = ['a', 'b']",
        b="[log]\nlevel = 'error'\n[images]\npinned = ['c']",
        a="[log]\nlevel = 'warning'\n[runtimes.handlers.kata]\npath = '/kata'",
    )
    config = load(main)
    assert (config.drain_timeout, config.log.level, config.log.format) == (3, "error", "json")
    assert config.images.pinned == ["c"]
    assert list(config.runtimes.handlers) == ["crun", "runc", "kata"]


def test_what_is_no_drop_in(tmp_path: Path) -> None:
    """Hidden files, other suffixes and another file's directory are not read; no directory is none of them."""
    main = write(tmp_path, main="", a="drain_timeout = 4")
    for name in (".hidden.toml", "a.toml~", "b.toml.bak"):
        (tmp_path / "config.d" / name).write_text("not toml")
    assert [path.name for path in drop_ins(main)] == ["a.toml"]
    assert drop_ins(tmp_path / "node7.toml") == []
    (tmp_path / "file.d").write_text("")
    assert drop_ins(tmp_path / "file.toml") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", "BASE/config.d/10-x.toml: not TOML: "),
        ("colour = 1", "BASE/config.d/10-x.toml: colour: unknown key"),
        ("[log]\nlevel = 'loud'", "BASE/config.d/10-x.toml: log.level: invalid enum value"),
        ("log = 'loud'", "BASE/config.d/10-x.toml: log: a table in one file and none in another"),
        (
            "[runtimes.handlers.kata]\nnetdevices = 'auto'",
            "BASE/config.d/10-x.toml: runtimes.handlers[...]: object mis",
        ),
        ("[stream]\ntls_cert = '/c'", "BASE/config.d/10-x.toml: stream.tls_cert and stream.tls_key belong together"),
        ("[metrics]\naddress = '1'", "BASE/config.d/10-x.toml: metrics.address: '1' is not HOST:PORT"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    """That of the key, whichever of several it is."""
    main = write(tmp_path, main="[log]\nlevel = 'info'", **{"10-x": text, "20-y": "drain_timeout = 1"})
    with pytest.raises(ConfigError) as caught:
        load(main)
    assert str(caught.value).startswith(message.replace("BASE", str(tmp_path)))


def test_a_drop_in_that_cannot_be_read(tmp_path: Path) -> None:
    main = write(tmp_path, main="")
    (tmp_path / "config.d" / "gone.toml").symlink_to("nowhere")
    with pytest.raises(ConfigError, match=r"^cannot read .*/config.d/gone.toml: No such file"):
        load(main)


def test_shown_settings(tmp_path: Path) -> None:
    """What is shown means the same settings; each value has its file, a default has none."""
    sysctls = "[pods.sysctls]\n'net.core.somaxconn' = '1024'"
    rules = "[netdevices]\nallow = [{devices = ['demo*'], namespaces = ['a\"b']}]"
    main = write(
        tmp_path, main=f"drain_timeout = 3\n{sysctls}", a=rules.replace('a"b', "default"), b="[log]\nlevel = 'debug'"
    )
    shown = render(sources(main))
    assert parse(shown) == load(main)
    lines = shown.splitlines()
    assert f"drain_timeout = 3.0  # {main}" in lines
    assert f'level = "debug"  # {tmp_path}/config.d/b.toml' in lines
    assert f'"net.core.somaxconn" = "1024"  # {main}' in lines
    assert 'format = "auto"' in lines


LEAF = st.text(max_size=20) | st.lists(st.text(max_size=5), max_size=2)


@given(st.dictionaries(st.sampled_from(["pinned", "policy", "root", "x y"]), LEAF, max_size=3), LEAF)
def test_any_settings(images: dict[str, Any], pinned: Any) -> None:
    """Files that are well-formed TOML make settings, which are shown as they are, or a ConfigError with their names."""
    files = [ConfigFile(Path("/a"), {"images": images}), ConfigFile(Path("/b"), {"images": {"pinned": pinned}})]
    try:
        shown = render(files)
    except ConfigError as error:
        refused = str(error)
    else:
        assert parse(shown) == settings_of(files)
        return
    assert refused.startswith(("/a: ", "/b: ", "/a, /b: "))
