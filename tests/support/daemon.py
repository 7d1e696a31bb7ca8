"""A real daemon on scratch directories, the way a node runs it: own process, own socket, real CNI plugins."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf import message_factory

from crishim.linux import cgroups, mounts
from crishim.pb import admin_pb2 as admin
from crishim.pb import cri_pb2 as cri
from tests.support import residue
from tests.support.eventually import PATIENCE
from tests.support.residue import BRIDGE
from tests.support.settings_toml import to_toml

IMAGE = "localhost/crishim/busybox:latest"
SYSTEMD = os.environ.get("CRISHIM_TEST_CGROUP_DRIVER") == "systemd"  # hack/vm test: the same with the other driver
T = TypeVar("T")
METHODS = {
    m.name: (s.full_name, m)
    for d in (cri.DESCRIPTOR, admin.DESCRIPTOR)
    for s in d.services_by_name.values()
    for m in s.methods
}


def test_program(name: str) -> str:
    """A program of the set-up's directory, else of PATH."""
    own = Path(os.environ.get("CRISHIM_TEST_BIN", Path.home() / ".cache/crishim/bin")) / name
    found = str(own) if own.exists() else shutil.which(name)
    assert found, f"{name} is missing: run hack/setup test"
    return found


def eventually(look: Callable[[], T], what: str, timeout: float = 20.0) -> T:
    """Wait until look() gives something true; fail after timeout seconds (times PATIENCE)."""
    deadline = time.monotonic() + timeout * PATIENCE
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.01)


class Daemon:
    """One scratch node. Its directories outlive stop() and kill(), so that start() is a restart."""

    def __init__(self, directory: Path, settings: dict[str, Any] | None = None, *, inside: Sequence[str] = ()) -> None:
        """inside: the command that runs another one where the daemon is to be, in other namespaces than ours."""
        self.directory = directory
        self.inside = inside
        self.socket = directory / "crishim.sock"
        self.state, self.run, self.log = directory / "state", directory / "run", directory / "log"
        self.cni, self.plugins = directory / "cni", directory / "plugins"
        self.cni.mkdir(parents=True)
        self.plugins.mkdir()
        self.write_network()
        self.cgroup = f"/{directory.name.replace('-', '')}.slice" if SYSTEMD else f"/{directory.name}"
        self.config = directory / "config.toml"
        self.write_config(settings or {})
        self.process: subprocess.Popen[bytes] | None = None
        self._channel: grpc.Channel | None = None

    def write_network(
        self,
        name: str = "10-test.conflist",
        *,
        subnets: Sequence[str] = ("10.231.0.0/16", "fd31::/64"),
        masquerade: bool = True,
        **changes: Any,
    ) -> None:
        """A dual-stack bridge with portmap, as small clusters have it. subnets: one of each family."""
        bridge = {
            "type": "bridge",
            "bridge": BRIDGE,
            "isGateway": True,
            "ipMasq": masquerade,
            "ipam": {
                "type": "host-local",
                "dataDir": str(self.directory / "ipam"),
                "ranges": [[{"subnet": subnet}] for subnet in subnets],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        }
        plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}]
        network = {"cniVersion": "1.0.0", "name": "test", "plugins": plugins} | changes
        (self.cni / name).write_text(json.dumps(network))

    def write_config(self, settings: dict[str, Any]) -> None:
        base: dict[str, Any] = {
            "socket": str(self.socket),
            "state_dir": str(self.state),
            "run_dir": str(self.run),
            "log": {"level": "debug", "format": "json"},
            "network": {
                "config_dir": str(self.cni),
                "plugin_dirs": [str(self.plugins), "/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"],
                "timeout": 10 * PATIENCE,
            },
            "pods": {"cgroup_parent": self.cgroup},
            "netdevices": {
                "cdi_dirs": [str(self.directory / "cdi")],
                "allow": [{"devices": ["*"], "namespaces": ["*"]}],
            },
            "nri": {
                "socket": str(self.directory / "nri.sock"),
                "plugin_dir": str(self.directory / "nri-plugins"),
                "config_dir": str(self.directory / "nri-conf"),
            },
            "checkpoints": {"directory": str(self.directory / "checkpoints")},
            "runtimes": {
                "cgroup_driver": "systemd" if SYSTEMD else "cgroupfs",
                "handlers": {"crun": {"path": "crun"}, "runc": {"path": test_program("runc")}},
            },
        }
        for section, values in settings.items():
            base[section] = {**base[section], **values} if isinstance(values, dict) and section in base else values
        self.config.write_text(to_toml(base))

    def start(self) -> None:
        """Start and wait until it serves."""
        self.wait_serving(self.launch())

    def launch(self) -> int:
        """Start, and do not wait; the offset in the log at which this run of the daemon begins."""
        offset = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._serve(log.fileno())
        return offset

    def _serve(self, output: int) -> None:
        command = [*self.inside, sys.executable, "-m", "crishim", "serve", "--config", str(self.config)]
        self.process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)

    def launch_into(self, output: int) -> None:
        """Start with a descriptor as output, and wait until it answers; the log stays as it is."""
        self._serve(output)
        self.wait_answering()

    def wait_answering(self) -> None:
        """Wait until the daemon that was launched answers Status, which it does before it has recovered."""
        self._channel = self._open_channel()

        def answering() -> bool:
            try:
                self.call("Status")
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE  # noqa: PT017
                return False
            return True

        eventually(answering, "the daemon answers")

    def wait_serving(self, offset: int, timeout: float = 20.0) -> None:
        """Wait until the daemon that was launched serves."""

        def serving() -> bool:
            assert self.process is not None
            text = self.log.read_bytes()[offset:]
            assert self.process.poll() is None, f"the daemon ended: {text.decode(errors='replace')}"
            return b'"message": "serving"' in text

        eventually(serving, "the daemon serves", timeout)
        self._channel = self._open_channel()

    def _open_channel(self) -> grpc.Channel:
        return grpc.insecure_channel(f"unix:{self.socket}", options=[("grpc.max_receive_message_length", 1 << 24)])

    def end(self, number: int) -> None:
        """Send a signal and wait for the end; containers keep running."""
        if self._channel is not None:
            self._channel.close()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(30 * PATIENCE)

    def stop(self) -> None:
        self.end(signal.SIGTERM)

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def call(self, name: str, request: Any = None, *, deadline: float = 30.0, **fields: Any) -> Any:
        """One RPC, named; the request as a message or by its fields. Server streams come as a list."""
        assert self._channel is not None
        return invoke(self._channel, name, request, deadline, fields)

    def crictl(self, *arguments: str, check: bool = True, stdin: bytes = b"") -> str:
        """crictl's standard output."""
        command = [
            test_program("crictl"),
            f"--runtime-endpoint=unix://{self.socket}",
            f"--image-endpoint=unix://{self.socket}",  # /etc/crictl.yaml may name another
            f"--timeout={60 * PATIENCE:.0f}s",
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, check=False, input=stdin)
        assert not check or done.returncode == 0, f"crictl {' '.join(arguments)}: {done.stderr.decode()}"
        return done.stdout.decode()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`crishim ARGUMENTS --config ...`."""
        command = [sys.executable, "-m", "crishim", *arguments, "--config", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def logged(self) -> list[dict[str, Any]]:
        """The daemon's log so far."""
        self.catch_up()
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def catch_up(self) -> None:
        """Wait until the log holds what was logged before now: lines are written by a thread, in their order."""
        if self.process is None or self.process.poll() is not None or 'level = "debug"' not in self.config.read_text():
            return

        def answers() -> int:
            return self.log.read_bytes().count(b'"message": "answered", "rpc": "Version"')

        before = answers()
        self.call("Version")
        eventually(lambda: answers() > before, "the log's last line")

    def left(self) -> dict[str, set[str]]:
        """Everything there is on the node that a pod or container could have made, by kind."""
        return {
            "mounts": {p.target for p in mounts.table() if str(self.directory) in p.target},
            "links": residue.links(),
            "cgroups": set(residue.groups(self.cgroup)),
            "processes": set(residue.processes(str(self.run))),
            "files": set(residue.files(self.directory)),
            "rules": set(residue.rules()),
        }

    def delete(self) -> None:
        """Stop the daemon and remove all of the node, whatever state it is in."""
        self.kill()
        for pid in residue.processes(str(self.run)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid.partition(" ")[0]), signal.SIGKILL)
        cgroups.kill(self.cgroup)
        cgroups.remove(self.cgroup)
        for target in mounts.below(self.directory):
            mounts.unmount(target)
        shutil.rmtree(self.directory, ignore_errors=True)


def invoke(channel: grpc.Channel, name: str, request: Any, deadline: float, fields: dict[str, Any]) -> Any:
    """One RPC over a channel; see Daemon.call."""
    service, method = METHODS[name]
    request_class = message_factory.GetMessageClass(method.input_type)
    answer = message_factory.GetMessageClass(method.output_type)
    stub = channel.unary_stream if method.server_streaming else channel.unary_unary
    function = stub(
        f"/{service}/{name}",
        request_serializer=request_class.SerializeToString,
        response_deserializer=answer.FromString,
    )
    response = function(request_class(**fields) if request is None else request, timeout=deadline * PATIENCE)
    return list(response) if method.server_streaming and name != "GetContainerEvents" else response


def assert_clean(daemon: Daemon, before: dict[str, set[str]], timeout: float = 5.0) -> None:
    """Within the time nothing is on the node that was not there before; the failure says what is."""
    found = residue.left_behind(daemon.left, before, timeout * PATIENCE)
    assert not found, f"left behind: {found}"


@contextlib.contextmanager
def scratch_daemon(inside: Sequence[str] = (), /, **settings: Any) -> Iterator[Daemon]:
    """A running daemon; everything of it is gone afterwards. inside: as Daemon has it."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") else "/run"
    directory = Path(tempfile.mkdtemp(prefix="crishim-test-", dir=base))
    directory.chmod(0o711)  # for the root of user namespaces
    daemon = Daemon(directory, settings, inside=inside)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.delete()
