"""Client of conmon's attach socket: a container's own stdin, stdout and stderr."""

from pathlib import Path


class Attachment:
    """One connection; satisfies crishim.cri.stream.sessions.Session. Made by open_attachment()."""


async def open_attachment(
    socket: Path, control: Path, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
) -> Attachment:
    """Connect to a conmon.

    socket: conmon's attach socket (any length of path). control: its `ctl` FIFO. PRECONDITION if conmon is gone.
    """
    raise NotImplementedError
