"""The OCI runtime (crun, runc): the commands of its life cycle, each one short run of the program.

create is conmon's to call (conmon.py); signals go straight to the process by pidfd, without the runtime.
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


def classify(said: str) -> Kind:
    """The kind of a runtime's complaint: a command that is not there is the request's fault, a full disk is not."""
    if "No space left" in said or "Disk quota" in said:
        return Kind.EXHAUSTED
    if _COMMAND_MISSING.search(said):
        return Kind.INVALID
    return Kind.INTERNAL


def error_message(stderr: bytes) -> str:
    """What a runtime complains of, on one line: of runc's log lines the message of the last error."""
    errors = _LOGGED_ERROR.findall(stderr.decode(errors="replace"))
    return programs.complaint(re.sub(r"\\(.)", _unescaped, errors[-1][1]).encode() if errors else stderr)


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
            self._features = await asyncio.shield(self._asking)  # for all who ask: a caller that leaves ends nothing
        return self._features

    async def _ask(self) -> dict[str, Any]:
        done = await programs.run([self.path, "features"], timeout=self.timeout, check=False)
        return decode_features(done.stdout) if done.returncode == 0 else _unsaid(self.path)

    async def start(self, container_id: str) -> None:
        """Let the created process execute its command. Raises with the runtime's own words."""
        await self._call("start", container_id)

    async def pause(self, container_id: str) -> None:
        """Freeze the container's processes; linux/cgroup_limits.py thaws them. Returns when all stand still."""
        await self._call("pause", container_id)

    async def state(self, container_id: str) -> str:
        """created, running or stopped; "" if the runtime does not know the container."""
        done = await self._call("state", container_id, check=False)
        if done.returncode != 0:
            return ""
        return str(msgspec.json.decode(done.stdout).get("status", ""))

    async def delete(self, container_id: str, *, dead: bool = False) -> None:
        """Kill what is left of the container and forget it, its cgroup too; fine if that is done already.

        dead: its processes have ended. runc's --force kills, then sleeps 100 ms before it looks, even so; without it
        runc only forgets. If the runtime says that something lives after all, it is killed.
        """
        if not await executors.records((self.root / container_id).exists):
            return  # it has no state of it
        done = await self._call("delete", *(() if dead else ("--force",)), container_id, check=False)
        if dead and done.returncode != 0 and not _GONE.search(error_message(done.stderr)):
            done = await self._call("delete", "--force", container_id, check=False)
        said = error_message(done.stderr)
        if done.returncode != 0 and not _GONE.search(said):
            raise CrishimError(
                Kind.INTERNAL, f"{self.name} cannot delete container {container_id[:13]}: {said}", stderr=said
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
            said = error_message(done.stderr) or f"status {done.returncode}"
            id = arguments[-1][:13]
            raise CrishimError(classify(said), f"{self.name} cannot {command} container {id}: {said}", stderr=said)
        return done


def _unsaid(path: str) -> dict[str, Any]:
    """What a runtime without `features` can do. crun got the command in 1.9; 1.8.1 was tried: both of these work."""
    if Path(path).name != "crun":
        return {}
    return {"mountOptions": ["rro"], "linux": {"mountExtensions": {"idmap": {"enabled": True}}}}


def decode_features(stdout: bytes) -> dict[str, Any]:
    """The features object; {} if it is none."""
    try:
        data = msgspec.json.decode(stdout)
    except NOT_JSON:
        return {}
    return data if isinstance(data, dict) else {}


def moves_devices(features: Mapping[str, Any]) -> bool:
    """Whether a runtime says it honours linux.netDevices."""
    linux = features.get("linux")
    device = linux.get("netDevices") if isinstance(linux, dict) else None
    return isinstance(device, dict) and device.get("enabled") is True


def _directories(root: Path) -> set[str]:
    return {p.name for p in root.iterdir() if p.is_dir()} if root.exists() else set()
