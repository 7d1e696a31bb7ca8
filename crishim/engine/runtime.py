"""The OCI runtime (crun, runc): its lifecycle commands, each one short run of the program.

conmon runs create (conmon.py); signals are sent to the process by pidfd, without the runtime.
"""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from crishim.decoding import NOT_JSON
from crishim.errors import CrishimError, Kind
from crishim.linux import executors, programs

_COMMAND_MISSING = re.compile(
    r"executable file|open executable|not found in \$PATH|exec: |exec user process|cannot find.*executable", re.I
)
_LOGGED_ERROR = re.compile(r'^time=\S+ level=(?:error|fatal) msg=("?)((?:[^"\\\n]|\\.)*)\1', re.M)
_GONE = re.compile(r"does not exist|no such container|not found|No such file or directory", re.I)


def classify(message: str) -> Kind:
    """The kind of a runtime's error: INVALID for a command that does not exist, EXHAUSTED for a full disk."""
    if "No space left" in message or "Disk quota" in message:
        return Kind.EXHAUSTED
    if _COMMAND_MISSING.search(message):
        return Kind.INVALID
    return Kind.INTERNAL


def error_message(stderr: bytes) -> str:
    """A runtime's error on one line: from runc's log lines the message of the last error, else all of stderr."""
    errors = _LOGGED_ERROR.findall(stderr.decode(errors="replace"))
    return programs.stderr_text(re.sub(r"\\(.)", _unescaped, errors[-1][1]).encode() if errors else stderr)


def _unescaped(escape: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t"}.get(escape[1], escape[1])


class Runtime:
    """One OCI runtime with a state directory of its own."""

    def __init__(self, name: str, path: str, root: Path, *, timeout: float, systemd: bool = False) -> None:
        """path: absolute program. root: its --root, one for each handler. timeout: seconds for one call."""
        self.name = name
        self.path = path
        self.root = root
        self.timeout = timeout
        self.systemd = systemd
        self._features: dict[str, Any] | None = None
        self._asking: asyncio.Task[dict[str, Any]] | None = None

    @property
    def global_arguments(self) -> list[str]:
        return [f"--root={self.root}"] + (["--systemd-cgroup"] if self.systemd else [])

    async def features(self) -> dict[str, Any]:
        """What `features` prints (runtime-spec, features.md); {} for a runtime that has no such command."""
        if self._features is None:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask())
            self._features = await asyncio.shield(self._asking)  # shared: a cancelled caller does not cancel it
        return self._features

    async def _ask(self) -> dict[str, Any]:
        done = await programs.run([self.path, "features"], timeout=self.timeout, check=False)
        return decode_features(done.stdout) if done.returncode == 0 else _default_features(self.path)

    async def start(self, container_id: str) -> None:
        """Let the created process execute its command. Raises an error with the runtime's message."""
        await self._call("start", container_id)

    async def pause(self, container_id: str) -> None:
        """Freeze the container's processes; linux/cgroup_limits.py thaws them. Returns when all are frozen."""
        await self._call("pause", container_id)

    async def state(self, container_id: str) -> str:
        """created, running or stopped; "" if the runtime does not know the container."""
        done = await self._call("state", container_id, check=False)
        if done.returncode != 0:
            return ""
        return str(msgspec.json.decode(done.stdout).get("status", ""))

    async def delete(self, container_id: str, *, dead: bool = False) -> None:
        """Kill the container's processes and delete its state and cgroup; may be repeated.

        dead: its processes have exited. runc's --force kills and sleeps 100 ms even then; without it runc only deletes
        the state. If that fails because a process still runs, --force is used.
        """
        if not await executors.records((self.root / container_id).exists):
            return  # the runtime has no such container
        done = await self._call("delete", *(() if dead else ("--force",)), container_id, check=False)
        if dead and done.returncode != 0 and not _GONE.search(error_message(done.stderr)):
            done = await self._call("delete", "--force", container_id, check=False)
        message = error_message(done.stderr)
        if done.returncode != 0 and not _GONE.search(message):
            raise CrishimError(
                Kind.INTERNAL, f"{self.name} cannot delete container {container_id[:13]}: {message}", stderr=message
            )

    async def update(self, container_id: str, resources: Mapping[str, Any]) -> None:
        """Write OCI resources to the container's cgroup."""
        stdin = msgspec.json.encode(resources)
        await self._call("update", "--resources", "-", container_id, stdin=stdin)

    async def known(self) -> set[str]:
        """Ids of the containers in the runtime's state directory, whether or not they run."""
        return await executors.records(_directories, self.root)

    async def _call(self, command: str, *arguments: str, stdin: bytes = b"", check: bool = True) -> programs.Finished:
        argv = [self.path, *self.global_arguments, command, *arguments]
        done = await programs.run(argv, timeout=self.timeout, stdin=stdin, check=False)
        if check and done.returncode != 0:
            message = error_message(done.stderr) or f"status {done.returncode}"
            id = arguments[-1][:13]
            raise CrishimError(
                classify(message), f"{self.name} cannot {command} container {id}: {message}", stderr=message
            )
        return done


def _default_features(path: str) -> dict[str, Any]:
    """The features of a runtime without the command. crun has it since 1.9; with 1.8.1 both of these were tested."""
    if Path(path).name != "crun":
        return {}
    return {"mountOptions": ["rro"], "linux": {"mountExtensions": {"idmap": {"enabled": True}}}}


def decode_features(stdout: bytes) -> dict[str, Any]:
    """Parse the features object; {} if it is invalid."""
    try:
        data = msgspec.json.decode(stdout)
    except NOT_JSON:
        return {}
    return data if isinstance(data, dict) else {}


def moves_devices(features: Mapping[str, Any]) -> bool:
    """Whether a runtime's features include linux.netDevices."""
    linux = features.get("linux")
    device = linux.get("netDevices") if isinstance(linux, dict) else None
    return isinstance(device, dict) and device.get("enabled") is True


def _directories(root: Path) -> set[str]:
    return {p.name for p in root.iterdir() if p.is_dir()} if root.exists() else set()
