"""Settings: their paths and programs."""

import os
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crishim.config import Config, ConfigError, parse
from crishim.config_paths import check_nri, check_paths, check_sysctls, find_program


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


def test_sysctls_of_the_kernel(usable: Config) -> None:
    """One that the kernel does not have is named."""
    check_sysctls(changed(usable, "pods.sysctls", {"net.ipv4.ip_forward": "1", "net/ipv4/conf/lo/forwarding": "1"}))
    with pytest.raises(ConfigError, match=r"^pods\.sysctls: the kernel has no sysctl net\.ipv4\.no_such"):
        check_sysctls(changed(usable, "pods.sysctls", {"net.ipv4.no_such": "1"}))


@pytest.mark.parametrize("how", ["relative", "below a file", "a file", "long"])
def test_the_nri_socket(usable: Config, tmp_path: Path, how: str) -> None:
    """Only a daemon with NRI needs it."""
    (tmp_path / "file").touch()
    values = {"relative": "x/y", "below a file": f"{tmp_path}/file/x", "a file": f"{tmp_path}/file", "long": "/" * 108}
    config = changed(usable, "nri.socket", values[how])
    check_paths(config)
    with pytest.raises(ConfigError, match=r"^nri\.socket: "):
        check_nri(config)
    check_nri(changed(config, "nri.enable", False))
    check_nri(changed(config, "nri.socket", ""))
