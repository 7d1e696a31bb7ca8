"""Checkpoints: the OCI runtime runs criu, which writes the state of a container's processes to files. criu(8).

It needs criu, a runtime built with support for it, and a kernel this criu supports.
"""

import re
import shutil
from pathlib import Path

from crishim.engine.runtime import Runtime
from crishim.errors import CrishimError, Kind
from crishim.linux import executors, files, programs

_CHECK_TIMEOUT = 20.0  # seconds
_ERROR = re.compile(r"Error \([^)\n]*\): (.+)")
# A warning of criu without CAP_SYS_RESOURCE.
_HARMLESS = re.compile(r"rlimit: Can't setup RLIMIT_NOFILE")
_LOG_END = 64 << 10  # bytes read from the end of criu's log
_ERRORS, _LONGEST_ERROR = 2, 200


async def why_unsupported(runtime: Runtime) -> str:
    """Why containers of this runtime cannot be checkpointed; "" if they can."""
    criu = await executors.records(shutil.which, "criu")
    if criu is None:
        return "criu is not installed"
    if not await _calls_criu(runtime):
        return f"{runtime.name} is built without criu"
    check = await programs.run([criu, "check"], timeout=_CHECK_TIMEOUT, check=False)
    if check.returncode != 0:
        return f"criu does not work on this kernel: {programs.stderr_text(check.stderr)[:300]}"
    return ""


async def dump(runtime: Runtime, container_id: str, images: Path, work: Path, *, timeout: float) -> None:
    """Write the processes' state to images, and criu's log to work; the container keeps running.

    Raises DEADLINE after timeout seconds, INTERNAL with the runtime's message; the container may then be left frozen.
    """
    argv = [
        runtime.path,
        *runtime.global_arguments,
        "checkpoint",
        f"--image-path={images}",
        f"--work-path={work}",
        "--leave-running",
        "--tcp-established",
        "--file-locks",
        container_id,
    ]
    done = await programs.run(argv, timeout=timeout, check=False)
    if done.returncode != 0:
        message = programs.stderr_text(done.stderr) or f"status {done.returncode}"
        message += await executors.records(criu_errors, work / "dump.log")
        raise CrishimError(
            Kind.INTERNAL, f"container {container_id[:13]} cannot be checkpointed: {message}", stderr=message
        )


def criu_errors(log: Path) -> str:
    """The first errors in a criu log, to be appended to a message; "" if there are none. Blocks."""
    try:
        text = files.tail(log, _LOG_END).decode(errors="replace")
    except OSError:
        return ""
    errors = [e.strip()[:_LONGEST_ERROR] for e in _ERROR.findall(text) if not _HARMLESS.match(e)]
    return f" (criu: {'; '.join(errors[:_ERRORS])})" if errors else ""


async def _calls_criu(runtime: Runtime) -> bool:
    """Whether the runtime supports criu: from runc's features, from crun's --version."""
    annotations = (await runtime.features()).get("annotations") or {}
    if annotations.get("org.opencontainers.runc.checkpoint.enabled") == "true":
        return True
    version = await programs.run([runtime.path, "--version"], timeout=runtime.timeout, check=False)
    return b"+CRIU" in version.stdout
