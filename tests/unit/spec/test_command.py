import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec import command

from .conftest import Apply, Make

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.mark.parametrize(
    ("cmd", "args", "entrypoint", "image_cmd", "expected"),
    [
        ([], [], ["e"], ["c"], ["e", "c"]),
        ([], ["a"], ["e"], ["c"], ["e", "a"]),
        (["x"], [], ["e"], ["c"], ["x"]),
        (["x"], ["a"], ["e"], ["c"], ["x", "a"]),
        ([], [], None, ["c"], ["c"]),
        ([], ["a"], None, ["c"], ["a"]),
        ([], [], ["e"], None, ["e"]),
    ],
)
def test_args(
    make: Make,
    apply: Apply,
    cmd: list[str],
    args: list[str],
    entrypoint: list[str] | None,
    image_cmd: list[str] | None,
    expected: list[str],
) -> None:
    """command stands in for Entrypoint and drops Cmd; args stand in for Cmd."""
    config = cri.ContainerConfig(command=cmd, args=args)
    image = {"config": {"Entrypoint": entrypoint, "Cmd": image_cmd}}
    assert apply(command.process_args, make(config=config, image=image)).spec["process"]["args"] == expected


def test_nothing_to_run_is_an_error(make: Make, apply: Apply) -> None:
    """Neither the request nor the image names a command: INVALID."""
    with pytest.raises(CrishimError, match="what to run") as caught:
        apply(command.process_args, make(config=cri.ContainerConfig()))
    assert caught.value.kind is Kind.INVALID


def environment(
    make: Make, apply: Apply, config: cri.ContainerConfig, env: list[str] | None = None, **more: Any
) -> list[str]:
    inputs = make(config=config, image={"config": {"Env": env}}, **more)
    entries: list[str] = apply(command.process_environment, inputs).spec["process"]["env"]
    return entries


def test_env_has_a_path_by_default(make: Make, apply: Apply) -> None:
    """An image without PATH gets the usual one."""
    assert environment(make, apply, cri.ContainerConfig()) == [PATH]


def test_env_of_the_request_wins_over_the_images(make: Make, apply: Apply) -> None:
    """Image variables first, then the request's, each name once."""
    config = cri.ContainerConfig(envs=[cri.KeyValue(key="A", value=b"2"), cri.KeyValue(key="A", value=b"3")])
    assert environment(make, apply, config, ["PATH=/bin", "A=1", "B=x=y", "nonsense"]) == ["PATH=/bin", "A=3", "B=x=y"]


def test_env_hostname_and_term(make: Make, apply: Apply) -> None:
    """HOSTNAME is the pod's, TERM is there with a terminal; the image may say otherwise."""
    config = cri.ContainerConfig(tty=True)
    assert environment(make, apply, config, hostname="h") == [PATH, "TERM=xterm", "HOSTNAME=h"]
    assert "TERM=vt100" in environment(make, apply, config, ["TERM=vt100"])


def test_env_empty_values_stay(make: Make, apply: Apply) -> None:
    """A variable may be set to nothing."""
    assert "E=" in environment(make, apply, cri.ContainerConfig(envs=[cri.KeyValue(key="E")]))


def raw(key: str = "R", value: bytes = b"\xff\xfe") -> cri.ContainerConfig:
    return cri.ContainerConfig(command=["/bin/true", "arg"], envs=[cri.KeyValue(key=key, value=value)])


def test_env_value_that_is_not_utf8_is_set_by_the_launcher(make: Make, apply: Apply) -> None:
    """KeyValue.value is bytes: JSON cannot hold them, the launcher's arguments are ASCII and can."""
    draft = apply(command.process_args, inputs := make(config=raw(), launcher="/bin/busybox"))
    command.process_environment(draft, inputs)
    args = draft.spec["process"]["args"]
    assert args[0] == command.LAUNCHER
    assert args[-2:] == ["/bin/true", "arg"]
    assert r"\377\376" in args[3]
    assert all(a.isascii() for a in args)
    assert any(m["destination"] == command.LAUNCHER and "ro" in m["options"] for m in draft.spec["mounts"])
    assert not any(e.startswith("R=") for e in draft.spec["process"]["env"])


def test_env_value_that_is_not_utf8_needs_a_launcher(make: Make, apply: Apply) -> None:
    """Without one the container is refused; its variable is never changed silently."""
    with pytest.raises(CrishimError, match="variable R is not UTF-8") as caught:
        apply(command.process_environment, make(config=raw()))
    assert caught.value.kind is Kind.PRECONDITION


def test_a_later_utf8_value_replaces_raw_bytes(make: Make, apply: Apply) -> None:
    """The last entry of a name counts, whichever kind it is."""
    config = raw()
    config.envs.add(key="R", value=b"fine")
    assert "R=fine" in environment(make, apply, config)


def run_launched(env: dict[str, str], values: dict[str, bytes]) -> dict[bytes, bytes]:
    """Execute the launcher's line here, with the node's busybox for the container's, and read the environment."""
    busybox = "/bin/busybox"
    args = command.launch(["/bin/cat", "/proc/self/environ"], [f"{k}={v}" for k, v in env.items()], values)
    args = [busybox, *(a.replace(command.LAUNCHER, busybox) for a in args[1:])]
    out = subprocess.run(args, env=env, stdout=subprocess.PIPE, check=True).stdout
    return dict(entry.split(b"=", 1) for entry in out.split(b"\0") if entry)


@pytest.mark.skipif(not Path("/bin/busybox").exists(), reason="busybox is not installed")
@settings(max_examples=30)
@given(st.binary().filter(lambda b: b"\0" not in b))
def test_the_launcher_sets_any_bytes(value: bytes) -> None:
    """Every byte but NUL arrives as it was sent: quotes, newlines at the end, backslashes, dollars."""
    assert run_launched({"PATH": "/bin"}, {"R": value}) == {b"PATH": b"/bin", b"R": value}


@pytest.mark.skipif(not Path("/bin/busybox").exists(), reason="busybox is not installed")
def test_the_launcher_adds_and_loses_no_variable() -> None:
    """Names that are no shell identifiers pass, the shell's own variables do not appear unless they were given."""
    env = {"PATH": "/bin", "a.b-c": "dotted", "SHLVL": "7", "U": "\u00e4"}
    expected = {k.encode(): v.encode() for k, v in env.items()} | {b"R": b"\xff"}
    assert run_launched(env, {"R": b"\xff"}) == expected


@pytest.mark.parametrize(
    ("asked", "image", "expected"), [("", None, "/"), ("", "/app", "/app"), ("/x", "/app", "/x"), ("", "app", "/app")]
)
def test_cwd(make: Make, apply: Apply, asked: str, image: str | None, expected: str) -> None:
    """The request's directory, the image's, or the root; always absolute."""
    inputs = make(config=cri.ContainerConfig(working_dir=asked), image={"config": {"WorkingDir": image}})
    assert apply(command.process_cwd, inputs).spec["process"]["cwd"] == expected


def test_terminal(make: Make, apply: Apply) -> None:
    """process.terminal is what tty says."""
    inputs = make(config=cri.ContainerConfig(tty=True))
    assert apply(command.process_terminal, inputs).spec["process"]["terminal"] is True


def test_an_image_with_a_null_config(make: Make, apply: Apply) -> None:
    """Images exist whose configuration is null or absent."""
    assert apply(command.process_cwd, make(image={"config": None})).spec["process"]["cwd"] == "/"
