"""Programs of the node that hang or fail: the call ends, the text says which, nothing is left."""

import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.node.refusals import refused
from tests.support.daemon import Daemon, assert_clean, scratch_daemon
from tests.support.pods import (
    create,
    remove_pod,
    run_pod,
)

pytestmark = pytest.mark.node
Code = grpc.StatusCode


def script(path: Path, text: str) -> Path:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def troubled(busybox_archive: Path) -> Iterator[Daemon]:
    """A node whose runtime "slow" hangs in create, and whose runtimes have two seconds."""
    slow = script(
        Path(f"/dev/shm/slow-runtime-{os.getpid()}"), 'case "$*" in *" create "*) sleep 600;; esac; exec crun "$@"\n'
    )
    settings = {"handlers": {"crun": {"path": "crun"}, "slow": {"path": str(slow)}}, "timeout": 2}
    with scratch_daemon(runtimes=settings) as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        yield daemon
    slow.unlink()


def test_a_runtime_that_hangs_in_create(troubled: Daemon) -> None:
    """DEADLINE_EXCEEDED after runtimes.timeout; conmon and runtime are gone, the pod can be removed."""
    pod = run_pod(troubled, handler="slow")
    before = troubled.left()
    before["cgroups"].add(pod)
    code, text = refused(create, troubled, pod)
    assert code == Code.DEADLINE_EXCEEDED
    assert "2 s" in text
    assert_clean(troubled, before)
    remove_pod(troubled, pod)


def test_a_runtime_that_dies_in_create(busybox_archive: Path, tmp_path: Path) -> None:
    """It has made the container's process and knows nothing of it, as crun when it is killed: the process ends, too."""
    forgetting = script(
        tmp_path / "forgetting-crun",
        'case " $* " in *" create "*) ;; *) exec crun "$@";; esac\n'
        'crun "$@"; for id; do :; done; rm -rf "${1#--root=}/$id"; echo was killed >&2; exit 137\n',
    )
    handlers = {"crun": {"path": "crun"}, "forgetting": {"path": str(forgetting)}}
    with scratch_daemon(runtimes={"handlers": handlers}) as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        pod = run_pod(daemon, handler="forgetting")
        before = daemon.left()
        before["cgroups"].add(pod)
        assert refused(create, daemon, pod)[0] == Code.INTERNAL
        assert_clean(daemon, before)
        remove_pod(daemon, pod)


def test_conmon_that_fails(busybox_archive: Path) -> None:
    """conmon gone missing, or broken, after the start: the text names it, nothing is left."""
    with scratch_daemon() as probe:
        conmon = probe.directory / "conmon"
        probe.stop()
        script(conmon, "echo conmon is broken >&2; exit 3\n")
        probe.write_config({"runtimes": {"conmon": str(conmon)}})
        probe.start()
        assert probe.command("images", "import", str(busybox_archive)).returncode == 0
        pod = run_pod(probe)
        before = probe.left()
        before["cgroups"].add(pod)
        code, text = refused(create, probe, pod)
        assert code == Code.INTERNAL
        assert "conmon is broken" in text
        assert_clean(probe, before)
        conmon.unlink()
        before["files"].discard("conmon")
        code, text = refused(create, probe, pod)
        assert code == Code.FAILED_PRECONDITION
        assert str(conmon) in text
        assert_clean(probe, before)
        remove_pod(probe, pod)
