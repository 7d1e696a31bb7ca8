"""What a request may want of a container that comes from a checkpoint."""

import copy
from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec.restored import check_restored, with_command

SPEC: dict[str, Any] = {
    "process": {
        "args": ["main", "-v"],
        "cwd": "/work",
        "env": ["A=1", "PATH=/bin"],
        "user": {"uid": 5, "gid": 6, "additionalGids": [6, 7]},
        "capabilities": {"bounding": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_CHOWN"]},
        "noNewPrivileges": True,
        "apparmorProfile": "crishim-default",
    },
    "root": {"readonly": True},
    "mounts": [
        {"destination": "/proc", "type": "proc"},
        {"destination": "/data/", "type": "bind", "source": "/a", "options": ["rbind", "ro"]},
    ],
    "linux": {
        "namespaces": [{"type": "mount"}, {"type": "network", "path": "/run/a"}],
        "seccomp": {"defaultAction": "SCMP_ACT_ERRNO"},
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}],
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    spec = copy.deepcopy(SPEC)
    *parents, last = path.split(".")
    place = spec
    for name in parents:
        place = place[name]
    place[last] = value
    return spec


def problem(old: Any, new: Any, environment: bool = False, **request: Any) -> str:
    try:
        check_restored(cri.ContainerConfig(**request), old, new, environment=environment)
    except CrishimError as error:
        assert error.kind is Kind.INVALID  # noqa: PT017
        return error.message
    return ""


def test_other_sources_and_names_of_the_pod() -> None:
    """Where a mount comes from, which pod's namespaces it joins and its cgroup are the new request's."""
    new = changed("linux.namespaces", [{"type": "network", "path": "/run/b"}, {"type": "mount"}])
    new["mounts"][1] |= {"source": "/b", "destination": "/data"}
    new["linux"]["cgroupsPath"] = "/other"
    new["process"]["env"] = ["HOSTNAME=other"]
    assert problem(SPEC, new) == ""


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("process.args", ["other"], "the command was"),
        ("process.terminal", True, "a terminal was"),
        ("process.user", {"uid": 0, "gid": 6, "additionalGids": [6, 7]}, "the user was"),
        (
            "process.capabilities",
            {"bounding": ["CAP_KILL"], "effective": ["CAP_CHOWN"]},
            "bounding capability CAP_CHOWN",
        ),
        ("process.apparmorProfile", "strict", "apparmorProfile was"),
        ("root.readonly", False, "a read-only root"),
        ("mounts", SPEC["mounts"][:1], "it had a mount at /data"),
        ("mounts", [*SPEC["mounts"], {"destination": "/more", "type": "bind"}], "the request has a mount at /more"),
        ("linux.namespaces", [{"type": "mount"}, {"type": "network"}], "namespaces was"),
        ("linux.namespaces", [*SPEC["linux"]["namespaces"], {"type": "user"}], "namespaces was"),
        ("linux.seccomp", {"defaultAction": "SCMP_ACT_KILL"}, "seccomp profile was another"),
        ("linux.maskedPaths", ["/proc/kcore", "/proc/keys"], "masked path at /proc/keys"),
        ("linux.readonlyPaths", [], "read-only path at /proc/sys"),
        ("linux.devices", [], "it had a device at /dev/fuse"),
        ("linux.devices", [{"path": "/dev/fuse", "type": "c", "major": 1, "minor": 3}], "c 10:229"),
    ],
)
def test_what_it_cannot_be(path: str, value: Any, why: str) -> None:
    """The request's word against the checkpoint's: the first difference is named."""
    assert why in problem(SPEC, changed(path, value))


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("process.noNewPrivileges", False, "gain privileges"),
        ("linux.seccomp", None, "seccomp profile was another"),
        ("process.capabilities", {"ambient": ["CAP_SYS_ADMIN"]}, "ambient capability CAP_SYS_ADMIN"),
        ("linux.namespaces", 7, "no config.json"),
        ("mounts", [{"type": "bind"}], "no config.json"),
        ("process", [], "the command was"),
        ("process", ["x"], "no config.json"),
        ("process.user", {"additionalGids": ["x", 1]}, "no config.json"),
    ],
)
def test_a_checkpoint_that_may_more_or_is_none(path: str, value: Any, why: str) -> None:
    """Less confined than the request wants it, or with another form than config.json's."""
    assert why in problem(changed(path, value), SPEC)


def test_what_may_less_is_fine() -> None:
    old = changed("process.capabilities", {"bounding": ["CAP_KILL"]})
    assert problem(old, SPEC) == ""
    assert problem(SPEC, changed("linux.seccomp", None)) == ""
    assert problem(SPEC, changed("process.noNewPrivileges", False)) == ""


def test_the_environment_where_it_counts() -> None:
    """RestorePod compares the request's variables, CreateContainer does not: a pod's name is in them."""
    same, other = cri.KeyValue(key="A", value=b"1"), cri.KeyValue(key="A", value=b"2")
    assert problem(SPEC, SPEC, True, envs=[same]) == ""
    assert "the variable A is another" in problem(SPEC, SPEC, True, envs=[other])
    assert "the variable B is another" in problem(SPEC, SPEC, True, envs=[cri.KeyValue(key="B", value=b"")])
    assert problem(SPEC, SPEC, False, envs=[other]) == ""


def test_the_working_directory_if_one_is_given() -> None:
    new = changed("process.cwd", "/other")
    assert problem(SPEC, new) == ""
    assert "the working directory" in problem(SPEC, new, working_dir="/other")


def test_the_command_of_the_checkpoint_stands_in() -> None:
    """A request without a command gets that of the checkpoint; its own stays."""
    assert list(with_command(cri.ContainerConfig(), SPEC).command) == ["main", "-v"]
    assert list(with_command(cri.ContainerConfig(args=["x"]), SPEC).command) == []
