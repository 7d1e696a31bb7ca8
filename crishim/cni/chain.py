"""Runs a chain of CNI plugins: ADD in order, each with the result of the one before; DEL in reverse, each with the
cached result. CNI specification 1.1, sections 2 to 4.
"""

import asyncio
import math
import os
import signal
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from crishim.cni import format as cni
from crishim.cni.known_faults import known_bug
from crishim.errors import CrishimError, Kind
from crishim.histograms import CNI
from crishim.linux import environment, executors, processes, programs
from crishim.tracing import span

T = TypeVar("T")

CHECK_TIMEOUT = 5.0  # seconds a plugin has for CHECK; the pod cannot be stopped meanwhile
_DYING = 5.0  # seconds to wait for killed plugins
_PAUSE = 0.05  # seconds between two reads of the processes of an earlier daemon


class RuntimeConf(NamedTuple):
    """libcni's RuntimeConf of one attachment: a container (here a pod), its interface, arguments for the plugins."""

    container_id: str
    netns: str  # path; "" when it is gone already, which DEL must accept
    args: Mapping[str, str]  # CNI_ARGS, e.g. K8S_POD_NAME
    capability_args: Mapping[str, Any]  # by capability name: portMappings, ipRanges, bandwidth, dns, ...
    ifname: str = cni.IFNAME


class CheckResult(NamedTuple):
    """One plugin's answer to CHECK."""

    plugin: str  # its type
    error: str  # in one sentence; "" if it finds nothing wrong
    seconds: float
    note: str = ""  # why its error is not the pod's (known_faults.py)


class PluginChain:
    """The plugin programs of this node."""

    def __init__(self, directories: Sequence[str], timeout: float) -> None:
        """timeout: seconds one plugin may take."""
        self._directories = directories
        self._timeout = timeout

    def find(self, name: str) -> Path:
        """The program of a plugin type. PRECONDITION names the type and where it was looked for. Blocks."""
        for directory in self._directories:
            path = Path(directory) / name
            if os.access(path, os.X_OK) and path.is_file():
                return path
        raise CrishimError(
            Kind.PRECONDITION, f"there is no CNI plugin {name} in {', '.join(self._directories)}", plugin=name
        )

    async def find_all(self, names: Sequence[str]) -> None:
        """Raise as find() for the first plugin that is not there."""

        def look() -> None:
            for name in names:
                self.find(name)

        await executors.records(look)

    async def add(self, network: cni.NetworkList, conf: RuntimeConf) -> dict[str, Any]:
        """ADD through the chain; the last plugin's result. On an error the caller calls delete() (section 4)."""
        result: dict[str, Any] | None = None
        for plugin in network.plugins:
            stdout = await self._execute("ADD", network, plugin, conf, result)
            result = cni.parse_result(stdout, plugin["type"])
        assert result is not None
        return result

    async def check(
        self, network: cni.NetworkList, conf: RuntimeConf, result: dict[str, Any]
    ) -> tuple[CheckResult, ...]:
        """CHECK the attachment against its cached result, with every plugin, also after an error of one.

        A plugin has CHECK_TIMEOUT seconds. () for a list that is not checked (unchecked()).
        """
        answers = []
        for plugin in network.plugins if not unchecked(network) else ():
            began, error, note = time.monotonic(), "", ""
            try:
                await self._execute("CHECK", network, plugin, conf, result, timeout=CHECK_TIMEOUT)
            except CrishimError as refusal:
                note = known_bug(plugin["type"], refusal.message, cni.addresses(result))
                error = "" if note else refusal.message
            answers.append(CheckResult(plugin["type"], error, time.monotonic() - began, note))
        return tuple(answers)

    async def delete(self, network: cni.NetworkList, conf: RuntimeConf, result: dict[str, Any] | None) -> None:
        """DEL in reverse order; result is ADD's, None if it never succeeded. May be repeated."""
        previous = result if cni.at_least(network.version, (0, 4, 0)) else None
        for plugin in reversed(network.plugins):
            await self._execute("DEL", network, plugin, conf, previous)

    async def wait_for_plugins(self, container_id: str) -> None:
        """Wait until no plugin runs for a container any more, delegated ones included.

        For the start of the daemon: plugins of an earlier one may still run. They are killed after the timeout of a
        plugin; DEADLINE if they do not end then.
        """
        mark = f"CNI_CONTAINERID={container_id}".encode()
        left = self._timeout
        while running := await executors.processes(processes.with_environment, mark):
            if left <= -_DYING:
                raise CrishimError(
                    Kind.DEADLINE,
                    f"CNI plugins of pod {container_id[:13]} were killed and are not gone",
                    pod=container_id,
                )
            if left <= 0:
                for process in running:
                    processes.send_signal(process, signal.SIGKILL)
            await asyncio.sleep(_PAUSE)
            left -= _PAUSE

    async def status(self, network: cni.NetworkList) -> None:
        """Raise if the network cannot take pods: a plugin is missing, or reports it (STATUS, since 1.1.0)."""
        await self.find_all(network.types)
        if not cni.at_least(network.version, (1, 1, 0)):
            return
        for plugin in network.plugins:
            await self._execute("STATUS", network, plugin, RuntimeConf("", "", {}, {}), None)

    async def _execute(
        self,
        command: str,
        network: cni.NetworkList,
        plugin: Mapping[str, Any],
        conf: RuntimeConf,
        previous: dict[str, Any] | None,
        *,
        timeout: float = math.inf,
    ) -> bytes:
        name = plugin["type"]
        with span(f"CNI {command} {name}", CNI, (command, name)):
            done = await _shielded(
                programs.run(
                    [await executors.records(self.find, name)],
                    stdin=cni.plugin_input(network, plugin, conf.capability_args, previous),
                    env=self._environment(command, conf),
                    timeout=min(self._timeout, timeout),
                    check=False,
                )
            )
        if done.returncode == 0:
            return done.stdout
        said = programs.stderr_text(done.stderr) or programs.stderr_text(done.stdout) or "it said nothing"
        raise cni.plugin_error(done.stdout, name, command) or CrishimError(
            Kind.INTERNAL, f"CNI plugin {name} failed to {command} with status {done.returncode}: {said}", plugin=name
        )

    def _environment(self, command: str, conf: RuntimeConf) -> dict[str, str]:
        variables = environment.minimal(CNI_COMMAND=command, CNI_PATH=os.pathsep.join(self._directories))
        if command != "STATUS":
            variables |= {
                "CNI_CONTAINERID": conf.container_id,
                "CNI_NETNS": conf.netns,
                "CNI_IFNAME": conf.ifname,
                "CNI_ARGS": ";".join(f"{k}={v}" for k, v in conf.args.items()),
            }
        return variables


async def _shielded(work: Coroutine[Any, Any, T]) -> T:
    """Await work; a cancelled caller still waits for its end, unless it is cancelled again.

    If host-local is killed between creating an address's file and writing the container into it, no DEL finds the file.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def unchecked(network: cni.NetworkList) -> str:
    """Why CHECK is not run for a list; "" if it is (sections 1 and 2)."""
    if network.disable_check:
        return f"the network {network.name} has disableCheck"
    if not cni.at_least(network.version, (0, 4, 0)):
        return f"CNI {network.version} has no CHECK"
    return ""


def decode_result(raw: bytes) -> dict[str, Any] | None:
    """A cached result from a record; None for an empty one."""
    result: dict[str, Any] | None = msgspec.json.decode(raw) if raw else None
    return result
