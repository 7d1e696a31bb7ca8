"""User namespaces: made by a short-lived child, since unshare(CLONE_NEWUSER) refuses a multi-threaded process.

The child is util-linux's unshare, which makes the user namespace first and the others in it, so that it owns them, and
then waits on its stdin. We write the id maps (user_namespaces(7)), pin the handles, and kill it.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from crishim.errors import CrishimError, Kind
from crishim.linux import environment, executors, namespaces, programs
from crishim.model import OwnerRange

_TIMEOUT = 10.0
_OPTIONS = {"net": "--net", "ipc": "--ipc", "uts": "--uts"}


def render_map(ranges: Sequence[OwnerRange]) -> str:
    """Lines of uid_map or gid_map."""
    return "".join(f"{r.container} {r.host} {r.length}\n" for r in ranges)


async def make(pins: Mapping[str, Path], uids: Sequence[OwnerRange], gids: Sequence[OwnerRange]) -> None:
    """Make a user namespace with these maps and, owned by it, the others of pins (net, ipc, uts); pin them all.

    pins has the key "user". On failure nothing of this call is left.
    """
    options = [_OPTIONS[kind] for kind in pins if kind != "user"]
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--user", *options, "sh", "-c", "echo ready; read line"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment.minimal(),
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(_TIMEOUT):
            if await process.stdout.readline() != b"ready\n":
                said = programs.stderr_text(await process.stderr.read())
                raise CrishimError(Kind.PRECONDITION, f"cannot make a user namespace: {said}")
        await executors.kernel(_map_and_pin, process.pid, pins, uids, gids)
    except TimeoutError:
        raise CrishimError(Kind.DEADLINE, f"unshare did not make a user namespace within {_TIMEOUT:g} s") from None
    except BaseException:
        for path in pins.values():
            await executors.kernel(namespaces.unpin, path)
        raise
    finally:
        process.stdin.close()
        with contextlib.suppress(ConnectionError):
            await process.stdin.wait_closed()
        await programs.end(process)


def _map_and_pin(pid: int, pins: Mapping[str, Path], uids: Sequence[OwnerRange], gids: Sequence[OwnerRange]) -> None:
    try:
        Path(f"/proc/{pid}/gid_map").write_text(render_map(gids))
        Path(f"/proc/{pid}/uid_map").write_text(render_map(uids))
    except OSError as error:
        raise CrishimError(
            Kind.INVALID, f"the kernel refuses the user namespace's mappings: {error.strerror}"
        ) from error
    for kind, path in pins.items():
        namespaces.pin(f"/proc/{pid}/ns/{kind}", path)
