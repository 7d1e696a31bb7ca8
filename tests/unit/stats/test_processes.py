"""What processes hold, looked at on ourselves."""

import os
import resource
import socket
from pathlib import Path

from crishim.stats.processes import count, open_files_limit


def test_descriptors_and_sockets_of_a_process(tmp_path: Path) -> None:
    """One file and one socket more are one descriptor and one descriptor and socket more."""
    before = count([os.getpid()])
    with (tmp_path / "f").open("w"), socket.socket():
        now = count([os.getpid()])
    assert (now.count, now.descriptors - before.descriptors, now.sockets - before.sockets) == (1, 2, 1)


def test_a_process_that_is_gone_holds_nothing() -> None:
    """Processes end while they are counted."""
    found = count([2**22 + 1])
    assert (found.descriptors, found.sockets, found.max_open_files) == (0, 0, None)


def test_no_processes() -> None:
    """A container without processes is no error."""
    assert count([]).count == 0


def test_the_soft_limit_of_open_files() -> None:
    """The limit is the one getrlimit(2) tells."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert count([os.getpid()]).max_open_files == soft


def test_an_unlimited_number_of_files() -> None:
    """Unlimited is no number."""
    assert open_files_limit("Max open files            unlimited            unlimited            files") is None
    assert open_files_limit("") is None
