"""CheckpointContainer: write a running container's processes, writable layer and configuration to one archive.

The archive has the layout of other runtimes and tools: checkpoint/ (criu's images), dump.log, rootfs-diff.tar (the
writable layer), spec.dump (config.json) and config.dump (facts of the container). The container is paused until the
layer is read, so that open files have the size in criu's images: criu compares at restore. A daemon that is killed
meanwhile leaves STATE_DIR/checkpoints/ID, and the next one resumes the container (checkpoint_pod.clear_interrupted).
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from crishim.engine import checkpoint
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState
from crishim.linux import async_files, directories, executors, programs
from crishim.linux.pod_paths import looking_at
from crishim.model import ContainerRecord
from crishim.node import Node
from crishim.operations.pausing import paused

_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
DEFAULT_TIMEOUT = 120  # seconds, if the request has none


async def checkpoint_container(node: Node, id: str, location: str, timeout: int) -> None:
    """Write a checkpoint of a RUNNING container to the file `location`; the container goes on running.

    Raises UNIMPLEMENTED, with the reason, if this host cannot do it, PRECONDITION, INVALID, DEADLINE. After an error
    there is no file, and the container runs.
    """
    container = node.containers.find(id)
    if not location.startswith("/"):
        raise CrishimError(Kind.INVALID, f"location must be an absolute path, not {location!r}")
    await check_possible(node, container.handler)
    seconds = timeout if timeout > 0 else DEFAULT_TIMEOUT
    async with node.locks.holding(container.id):
        container = node.containers.find(container.id)
        if container.state is not ContainerState.RUNNING:
            raise CrishimError(
                Kind.PRECONDITION, f"container {container.id[:13]} is {container.state}: only a running one can be kept"
            )
        work = Path(node.config.state_dir) / "checkpoints" / container.id
        try:
            async with asyncio.timeout(seconds):
                await executors.deletion(prepare, work)
                async with paused(node, [container]):
                    await capture(node, container, work, seconds)
                await archive(work, Path(location), seconds, lambda step: node.paths.run(container.pod_id, step))
        except TimeoutError:
            raise CrishimError(
                Kind.DEADLINE, f"container {container.id[:13]} could not be checkpointed within {seconds} s"
            ) from None
        finally:
            await executors.deletion(shutil.rmtree, work, ignore_errors=True)


async def check_possible(node: Node, handler: str, what: str = "checkpointed") -> None:
    """Raise UNIMPLEMENTED, with the reason, if containers of a handler cannot be checkpointed or "restored"."""
    reason = await checkpoint.why_unsupported(node.handlers.get(handler))
    if reason:
        raise CrishimError(Kind.UNIMPLEMENTED, f"containers cannot be {what} on this node: {reason}")


async def capture(node: Node, container: ContainerRecord, work: Path, seconds: float) -> None:
    """Write the archive's parts for a paused container to a directory made by prepare()."""
    runtime = node.handlers.get(container.handler)
    await checkpoint.dump(runtime, container.id, work / "checkpoint", work, timeout=seconds)
    await _describe(node, container, node.launcher.bundle(container.id), work)
    await _tar(work / "rootfs-diff.tar", node.filesystems.upper(container.id), ["."], seconds)


def prepare(work: Path) -> None:
    """An empty directory for capture(). Blocks."""
    shutil.rmtree(work, ignore_errors=True)
    directories.make_new(work)
    directories.make_new(work / "checkpoint")


async def _describe(node: Node, container: ContainerRecord, bundle: Path, work: Path) -> None:
    config = container.parse_config()
    about = {
        "id": container.id,
        "name": config.metadata.name,
        "rootfsImage": config.image.image,
        "rootfsImageRef": container.image_ref,
        "rootfsImageName": config.image.user_specified_image,
        "runtime": container.handler,
        "createdTime": datetime.fromtimestamp(container.created_at / 1e9, UTC).isoformat(),
        "checkpointedTime": datetime.now(UTC).isoformat(),
        "netDevices": {a.name: a.host.name for a in node.netdevices.attachments(container.pod_id)},
    }
    await async_files.write(work / "config.dump", msgspec.json.encode(about))
    await async_files.write(work / "spec.dump", await async_files.read(bundle / "config.json"))


async def archive(
    work: Path, location: Path, timeout: float, at_location: Callable[[Callable[[], None]], Awaitable[None]]
) -> None:
    """Write the archive, complete or not at all. Mode 0600: it holds the memory of processes.

    at_location: runs each step on the location's path, which the client chose and which may hang.
    """
    partial = location.with_name(f".{location.name}.partial")

    def make() -> None:
        looking_at(str(partial))
        os.close(os.open(partial, _NEW, 0o600))

    try:
        await at_location(make)
        names = sorted(await executors.records(os.listdir, work))
        await _tar(partial, work, names, timeout)
        await at_location(lambda: os.replace(partial, location))  # noqa: PTH105
    except OSError as error:
        raise CrishimError(Kind.INVALID, f"cannot write {location}: {error.strerror}", path=str(location)) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            await at_location(partial.unlink)


async def _tar(archive: Path, directory: Path, names: list[str], timeout: float) -> None:
    """Write an archive by tar(1), which follows no symlink out of the directory."""
    argv = ["tar", "--create", "--xattrs", "--sparse", f"--file={archive}", f"--directory={directory}", "--", *names]
    await programs.run(argv, timeout=timeout)
