"""The daemon's own directories and their modes."""

import os
from pathlib import Path

import msgspec
import pytest

from crishim.config import Config, ConfigError
from crishim.lifecycle import ContainerState, PodState
from crishim.model import ContainerRecord, PodRecord
from crishim.operations.fix_modes import fix_modes
from crishim.operations.own_directories import make_directories
from crishim.pb import cri_pb2 as cri


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return msgspec.structs.replace(Config(), state_dir=f"{tmp_path}/var/state", run_dir=f"{tmp_path}/run")


def modes(top: Path) -> dict[str, int]:
    return {str(p.relative_to(top)): p.stat().st_mode & 0o7777 for p in top.rglob("*")}


WHOLE = {"run": 0o711, "run/containers": 0o700, "run/runtime": 0o700, "run/pods": 0o711, "run/roots": 0o711}
WHOLE |= {"var": 0o755, "var/state": 0o700}
WHOLE |= {f"var/state/{name}": 0o700 for name in ("pods", "containers", "netdev", "writable")}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_made(config: Config, tmp_path: Path, umask: int) -> None:
    """Whatever the umask is; a second time nothing changes."""
    before = os.umask(umask)
    try:
        make_directories(config)
        assert modes(tmp_path) == WHOLE
        make_directories(config)
        assert modes(tmp_path) == WHOLE
    finally:
        os.umask(before)


def test_an_older_versions(config: Config, tmp_path: Path) -> None:
    """What it left open is closed; what is not ours above state_dir stays as it is."""
    for name in WHOLE:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name).chmod(0o755)
    make_directories(config)
    assert modes(tmp_path) == WHOLE


def test_that_cannot_be_made(config: Config, tmp_path: Path) -> None:
    """The line begins with the key and names the path."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/pods").touch()
    with pytest.raises(ConfigError, match=rf"^run_dir: {tmp_path}/run/pods cannot be made"):
        make_directories(config)


def pod(id: str, host_id: int | None = None) -> PodRecord:
    wanted = cri.PodSandboxConfig()
    if host_id is not None:
        users = wanted.linux.security_context.namespace_options.userns_options
        users.mode = cri.POD
        for mappings in (users.uids, users.gids):
            mappings.add(container_id=0, host_id=host_id, length=65536)
    return PodRecord(id=id, state=PodState.READY, config=wanted.SerializeToString(), handler="", created_at=1)


def container(id: str, pod_id: str) -> ContainerRecord:
    return ContainerRecord(
        id=id,
        pod_id=pod_id,
        state=ContainerState.RUNNING,
        config=b"",
        handler="crun",
        image_id="",
        image_ref="",
        created_at=1,
    )


def test_pods_and_containers(config: Config, tmp_path: Path) -> None:
    """Each is closed; only a user namespace's root may pass to its own pod's. One without a record is closed to all."""
    make_directories(config)
    (tmp_path / "run/pods/stray-file").touch()
    names = [f"run/pods/{n}" for n in ("p", "u", "lost")] + [f"run/roots/{n}" for n in ("pc", "uc", "lost")]
    names += [f"run/containers/{n}" for n in ("pc", "uc")] + [f"var/state/writable/{n}" for n in ("pc", "uc")]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    mine = os.getgid()
    fix_modes(config, [pod("p"), pod("u", mine)], [container("pc", "p"), container("uc", "u")])
    passed = {"run/pods/u": 0o710, "run/roots/uc": 0o710}
    assert {n: m for n, m in modes(tmp_path).items() if n in names} == dict.fromkeys(names, 0o700) | passed
