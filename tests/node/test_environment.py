"""What the daemon was started with stays with it: proxies with passwords, ignored signals, a umask."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.cni_recorder import Network
from tests.support.daemon import Daemon, scratch_daemon
from tests.support.pods import create, execute, pod_config, remove_pod, run_pod

pytestmark = pytest.mark.node
SECRET = "s3cr3t-of-the-node"
# As a script's background job, nohup(1) or a careless parent starts a daemon.
IGNORED, BLOCKED = (signal.SIGHUP, signal.SIGINT, signal.SIGALRM), (signal.SIGTERM, signal.SIGUSR2)
INHERITED = sum(1 << number - 1 for number in IGNORED + BLOCKED)  # as /proc/PID/status writes them
STARTED = (
    *("sh", "-c", 'umask 077; exec "$@"', "sh"),
    *("env", *(f"--ignore-signal={number:d}" for number in IGNORED)),
    *(f"--block-signal={number:d}" for number in BLOCKED),
)
NAMES = ("HTTPS_PROXY", "AWS_SECRET_ACCESS_KEY", "CRISHIM_ANYTHING")


@pytest.fixture(scope="module")
def node(busybox_archive: Path) -> Iterator[Daemon]:
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.setenv(name, f"http://user:{SECRET}@proxy")
        with scratch_daemon(STARTED) as daemon:
            assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
            yield daemon


def environments(daemon: Daemon) -> dict[str, str]:
    """The environment of each process that has the node's directory in its command line or environment, by command."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environ = (directory / "environ").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(daemon.directory) in command + environ:
                found[f"{directory.name} {command}"] = environ
    return found


@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_no_program_inherits_the_daemons(daemon: Daemon, handler: str) -> None:
    """Not conmon, the container, its init, a command in it, nor a CNI plugin; the daemon itself has them."""
    network = Network(daemon)
    for command in ("ADD", "DEL"):
        network.misbehave("one", command, f'cat /proc/$$/environ >> "$here/environ.{command}"')
    config = pod_config()
    config.linux.security_context.namespace_options.pid = cri.POD
    pod = run_pod(daemon, config, handler)
    try:
        container = create(daemon, pod)
        running = environments(daemon)
        daemons = [environ for command, environ in running.items() if " serve " in command]
        assert [SECRET in environ for environ in daemons] == [True]
        others = {command: environ for command, environ in running.items() if " serve " not in command}
        assert any("conmon" in command for command in others)
        assert [command for command, environ in others.items() if SECRET in environ] == []
        daemon.call("StartContainer", container_id=container)
        code, text = execute(daemon, container, "sh", "-c", "cat /proc/1/environ /proc/self/environ; env")
        assert code == 0
        assert "PATH=" in text
        assert SECRET not in text
    finally:
        remove_pod(daemon, pod)
        seen = {c: (daemon.plugins / f"environ.{c}").read_text() for c in ("ADD", "DEL")}
        for path in daemon.plugins.iterdir():
            path.unlink()
        daemon.write_network()
    for text in seen.values():
        names = {entry.partition("=")[0] for entry in text.split("\0") if entry}
        assert names <= {"PATH", "PWD", "SHLVL", "_", *(n for n in names if n.startswith("CNI_"))}


@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_no_signal_is_ignored_or_blocked(daemon: Daemon, handler: str) -> None:
    """Neither in the container, its init and a command in it, nor in conmon and a CNI plugin."""
    network = Network(daemon)
    network.misbehave("one", "ADD", 'cat /proc/self/status > "$here/status"')
    config = pod_config()
    config.linux.security_context.namespace_options.pid = cri.POD
    pod = run_pod(daemon, config, handler)
    try:
        container = create(daemon, pod)
        daemon.call("StartContainer", container_id=container)
        code, text = execute(daemon, container, "sh", "-c", "cat /proc/1/status /proc/self/status; umask")
        assert (code, text.splitlines()[-1]) == (0, "0022")
        monitors = [command for command in environments(daemon) if "conmon" in command]
        statuses = [text, (daemon.plugins / "status").read_text()]
        statuses += [Path(f"/proc/{command.split()[0]}/status").read_text() for command in monitors]
        assert len(statuses) >= 3
    finally:
        remove_pod(daemon, pod)
        for path in daemon.plugins.iterdir():
            path.unlink()
        daemon.write_network()
    held = [line for status in statuses for line in status.splitlines() if line.startswith(("SigIgn", "SigBlk"))]
    assert len(held) == 2 * (len(statuses) + 1)
    assert [line for line in held if int(line.split()[1], 16) & INHERITED] == []
