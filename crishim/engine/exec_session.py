"""Running a command inside a container through the OCI runtime's `exec`, interactively."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ExecSession:
    """A running command; satisfies crishim.cri.stream.sessions.Session. Made by start()."""


async def start(
    runtime: Path,
    root: Path,
    container_id: str,
    process: Mapping[str, Any],
    scratch: Path,
    *,
    stdin: bool,
    stdout: bool = True,
    stderr: bool = True,
) -> ExecSession:
    """Start `process` (an OCI runtime-spec process object; its `terminal` decides about a tty) in a running container.

    runtime: path of crun or runc. root: its --root. scratch: an existing directory for small files of the session;
    nothing is left there afterwards. PRECONDITION, with the runtime's words, if the command cannot be executed.
    """
    raise NotImplementedError
