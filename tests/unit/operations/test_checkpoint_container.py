"""CheckpointContainer with a criu and a runtime that are short scripts: the parts around them are ours."""

import json
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crishim.engine.handlers import Handlers
from crishim.engine.runtime import Runtime
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.linux import cgroups
from crishim.linux.pod_paths import PodPaths
from crishim.operations.checkpoint_container import checkpoint_container
from tests.support.nodes import make_node
from tests.unit.cri.records import container

DUMP = 'for a; do case $a in --image-path=*) echo pages > "${a#*=}/pages-1.img";; esac; done; echo said > log'
FEATURES = '{"annotations": {"org.opencontainers.runc.checkpoint.enabled": "true"}}'


class Bench:
    def __init__(self, tmp_path: Path) -> None:
        self.bin, self.location = tmp_path / "bin", tmp_path / "out/c.tar"
        self.bin.mkdir()
        self.location.parent.mkdir()
        (tmp_path / "bundle").mkdir()
        (tmp_path / "bundle/config.json").write_text('{"ociVersion": "1.0.2"}')
        (tmp_path / "upper").mkdir()
        (tmp_path / "upper/written").write_text("by the container")
        (tmp_path / "upper/link").symlink_to("/etc/passwd")
        self.group = tmp_path / "cgroup/pods/p1/c1"
        self.group.mkdir(parents=True)
        (self.group / "cgroup.freeze").write_text("1")
        self.tmp_path = tmp_path
        self.program("criu", "exit 0")
        self.runtime(DUMP)
        self.handlers = Handlers({"crun": Runtime("crun", str(self.bin / "rt"), tmp_path / "root", timeout=10)}, "crun")
        devices = SimpleNamespace(attachments=lambda pod: [])
        drivers: Any = {"handlers": self.handlers, "launcher": self, "filesystems": self, "netdevices": devices}
        self.node = make_node(tmp_path, **drivers, paths=PodPaths(10))
        self.scratch = tmp_path / "state/checkpoints"
        self.scratch.mkdir()

    def bundle(self, id: str) -> Path:
        return self.tmp_path / "bundle"

    def upper(self, id: str) -> Path:
        return self.tmp_path / "upper"

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)

    def runtime(self, dump: str, features: str = FEATURES) -> None:
        """dump: what `rt --root=DIR checkpoint ...` does."""
        self.program(
            "rt", f"case \"$1 $2\" in features*) echo '{features}';; *checkpoint) cd {self.tmp_path}; {dump};; esac"
        )

    async def checkpoint(
        self, timeout: int = 0, location: str = "", state: ContainerState = ContainerState.RUNNING
    ) -> None:
        await self.node.containers.add(container(state=state))
        await checkpoint_container(self.node, "c1", location or str(self.location), timeout)

    def left(self) -> list[str]:
        """Files of unfinished work."""
        return [*(p.name for p in self.scratch.glob("*")), *os.listdir(self.location.parent)]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(cgroups, "hierarchies", lambda: {"unified": tmp_path / "cgroup"})
    bench = Bench(tmp_path)
    monkeypatch.setenv("PATH", f"{bench.bin}:/usr/bin:/bin")
    return bench


async def refused(bench: Bench, **how: object) -> CrishimError:
    """The error of a checkpoint that must not leave anything."""
    with pytest.raises(CrishimError) as caught:
        await bench.checkpoint(**how)  # type: ignore[arg-type]
    assert bench.left() == []
    return caught.value


@pytest.mark.fact("CheckpointContainer")
async def test_the_archive_holds_processes_layer_and_configuration(bench: Bench) -> None:
    """Everything a restore needs, readable by root alone, links as links."""
    await bench.checkpoint()
    assert bench.left() == ["c.tar"]
    assert bench.location.stat().st_mode & 0o777 == 0o600
    with tarfile.open(bench.location) as archive:
        names = set(archive.getnames())
        assert {"checkpoint/pages-1.img", "config.dump", "spec.dump", "rootfs-diff.tar"} <= names
        about = archive.extractfile("config.dump")
        assert about is not None
        assert json.load(about)["rootfsImageName"] == "example.org/app:1"
        with tarfile.open(fileobj=archive.extractfile("rootfs-diff.tar")) as layer:
            assert layer.getmember("./written").size == len("by the container")
            assert layer.getmember("./link").linkname == "/etc/passwd"


async def test_without_criu_it_is_unimplemented_and_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row CheckpointContainer: UNIMPLEMENTED with a clear text where criu is absent."""
    monkeypatch.setenv("PATH", str(bench.scratch))
    error = await refused(bench)
    assert (error.kind, "criu is not installed" in error.message) == (Kind.UNIMPLEMENTED, True)


async def test_a_criu_that_does_not_know_this_kernel(bench: Bench) -> None:
    """Its own words are in the error."""
    bench.program("criu", "echo 'Error: vdso: Unexpected rt vDSO area bounds' >&2; exit 1")
    error = await refused(bench)
    assert (error.kind, "vDSO area bounds" in error.message) == (Kind.UNIMPLEMENTED, True)


async def test_a_runtime_built_without_criu(bench: Bench) -> None:
    """crun says +CRIU in its version if it has it."""
    bench.runtime(DUMP, features="{}")
    assert (await refused(bench)).message.endswith("crun is built without criu")


@pytest.mark.fact("CheckpointContainer")
async def test_the_timeout_ends_it_and_the_container_runs_on(bench: Bench) -> None:
    """DEADLINE after the seconds of the request; whatever froze the container for the dump is undone."""
    bench.runtime("sleep 60")
    error = await refused(bench, timeout=1)
    assert error.kind is Kind.DEADLINE
    assert (bench.group / "cgroup.freeze").read_text() == "0"


async def test_a_dump_that_fails_has_the_runtimes_words(bench: Bench) -> None:
    """Nothing is left, the container is thawed."""
    bench.runtime("echo 'criu failed: type NOTIFY errno 0' >&2; exit 1")
    assert "criu failed" in (await refused(bench)).message
    assert (bench.group / "cgroup.freeze").read_text() == "0"


async def test_only_a_running_container_is_checkpointed(bench: Bench) -> None:
    """A container that waits or has ended has no state worth keeping."""
    assert (await refused(bench, state=ContainerState.CREATED)).kind is Kind.PRECONDITION


@pytest.mark.parametrize("location", ["relative.tar", "/no/such/directory/c.tar"])
async def test_a_location_that_cannot_be_written(bench: Bench, location: str) -> None:
    """INVALID, naming it."""
    error = await refused(bench, location=location)
    assert (error.kind, location in error.message) == (Kind.INVALID, True)
