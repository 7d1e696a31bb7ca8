"""Running a command inside a container to its end and collecting what it printed: ExecSync, probes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

OUTPUT_LIMIT = 16 * 1024 * 1024 - 64 * 1024  # bytes of stdout and stderr together: the answer must fit 16 MiB


class SyncResult(NamedTuple):
    stdout: bytes
    stderr: bytes
    exit_code: int


async def run_sync(
    runtime: Path,
    root: Path,
    container_id: str,
    process: Mapping[str, Any],
    scratch: Path,
    *,
    timeout: float = 0,
    limit: int = OUTPUT_LIMIT,
) -> SyncResult:
    """Run `process` in a running container and wait for it.

    timeout: seconds, 0 for none; then the command and its descendants are killed and DEADLINE is raised.
    limit: bytes of stdout and stderr together; what goes beyond is read and dropped. A non-zero exit is no error;
    a command that cannot be executed is PRECONDITION with the runtime's words.
    """
    raise NotImplementedError
