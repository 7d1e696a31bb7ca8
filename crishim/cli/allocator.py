"""The daemon's memory comes from glibc's malloc, which gives free pages back to the kernel wherever they lie.

Python's own allocator takes a megabyte at a time and keeps it as long as one object lives there. What is renewed with
each call, such as gRPC's next request, lies among a crowd's things when the crowd goes: of 1,000 exec sessions 10 to
20 MB stayed. By pages it is one. One heap for all threads, and no stock of free blocks in each of them, for the same
reason; both cost less than what varies between two measurements.

An interpreter chooses its allocator when it starts, so the daemon starts itself a second time, in the same process.
"""

import contextlib
import os
import sys
from collections.abc import Mapping

_PYTHON = "PYTHONMALLOC"  # https://docs.python.org/3/using/cmdline.html#envvar-PYTHONMALLOC
_GLIBC = "GLIBC_TUNABLES"  # ld.so(8); other C libraries do not read it
_TUNABLES = "glibc.malloc.arena_max=1:glibc.malloc.tcache_count=0"


def start_with_pages() -> None:
    """Start this program again with the allocator chosen; return in the program that has it.

    A PYTHONMALLOC that is set is somebody's choice and stays. The programs the daemon runs find nothing of ours.
    """
    wanted = settings(os.environ)
    if wanted and not sys.flags.ignore_environment:
        with contextlib.suppress(OSError):  # it runs without
            os.execve(sys.executable, sys.orig_argv, {**os.environ, **wanted})
    for name, value in settings({}).items():
        if os.environ.get(name) == value:
            del os.environ[name]


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What to add to an environment; nothing if it has an allocator already."""
    if _PYTHON in environment:
        return {}
    theirs = environment.get(_GLIBC, "")
    return {_PYTHON: "malloc", _GLIBC: f"{theirs}:{_TUNABLES}" if theirs else _TUNABLES}
