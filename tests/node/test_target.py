"""PID mode TARGET with a target that ends at the wrong moment."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.linux import processes
from crishim.operations.target import open_namespace
from crishim.pb import cri_pb2 as cri
from tests.node.process_facts import info
from tests.node.refusals import refused
from tests.support import daemon as programs
from tests.support.daemon import Daemon, scratch_daemon
from tests.support.pods import container_config, remove_pod, run_pod, start

pytestmark = pytest.mark.node

# Before the runtime creates: the process named by the file "victim" ends, and its pid goes to one of the node's.
WRAPPER = """#!/bin/sh
case " $* " in *" create "*) if [ -e {here}/victim ]; then
    pid=$(cat {here}/victim); rm {here}/victim
    kill -9 $pid; while kill -0 $pid 2>/dev/null; do :; done
    for attempt in 1 2 3 4 5; do  # another test's process may take the number first
        echo $((pid - 1)) > /proc/sys/kernel/ns_last_pid
        sleep 60 <&- >&- 2>&- & echo $! > {here}/stranger
        [ $! != $pid ] || break
        [ $attempt = 5 ] || kill -9 $!
    done
fi;; esac
exec {runtime} "$@"
"""


@pytest.fixture(scope="module")
def node(busybox_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose runtimes are wrapped."""
    here = tmp_path_factory.mktemp("wrapped")
    handlers = {}
    for name in ("crun", "runc"):
        path = here / name
        path.write_text(WRAPPER.format(here=shlex.quote(str(here)), runtime=programs.test_program(name)))
        path.chmod(0o755)
        handlers[name] = {"path": str(path)}
    with scratch_daemon(runtimes={"handlers": handlers}) as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        yield daemon


@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_a_target_that_ends_while_the_container_is_created(
    daemon: Daemon, handler: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The create fails: the container joins no other process's namespace, though one has the target's pid by then."""
    pod = run_pod(daemon, handler=handler)
    here = next(tmp_path_factory.getbasetemp().glob("wrapped*"))
    try:
        target = start(daemon, pod)
        config = container_config("debugger")
        options = config.linux.security_context.namespace_options
        options.pid, options.target_id = cri.TARGET, target
        (here / "victim").write_text(str(info(daemon, target)["pid"]))
        _, text = refused(start, daemon, pod, config)
        assert "create" in text
    finally:
        remove_pod(daemon, pod)
        stranger = int((here / "stranger").read_text())
        subprocess.run(["kill", "-9", str(stranger)], check=False)  # it may have ended with the conmon that it is below


def test_a_pid_of_somebody_else_is_not_opened() -> None:
    """A reference whose process ended, and whose pid is in use again, opens nothing."""
    process = subprocess.Popen(["sleep", "60"])
    try:
        reference = processes.reference(process.pid)
        assert reference is not None
        fd = open_namespace(reference)
        assert fd is not None
        os.close(fd)
        earlier = type(reference)(pid=reference.pid, start_time=reference.start_time - 1)
        assert open_namespace(earlier) is None
    finally:
        process.kill()
        process.wait()
    assert open_namespace(reference) is None
