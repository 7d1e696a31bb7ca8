"""Work in a forked child: what it prints goes nowhere, and what it started ends with it."""

import contextlib
import ctypes
import os
import pickle
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def adopt_orphans() -> None:
    """What a child leaves running becomes ours, so that it can be ended."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def in_child(work: Callable[[], Any], seconds: float) -> Any:
    """The result of work() in a forked child. TimeoutError, EOFError (it died)."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.setsid()
            os.close(receive)
            quiet = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(quiet, fd)
            result = work()
            with os.fdopen(send, "wb") as answer:
                pickle.dump(result, answer)
        os._exit(0)
    os.close(send)
    late = threading.Event()

    def end() -> None:
        late.set()
        os.killpg(pid, signal.SIGKILL)

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        with os.fdopen(receive, "rb") as pipe:
            data = pipe.read()
    finally:
        timer.cancel()
        timer.join()
        os.waitpid(pid, 0)
        _end_orphans()
    if not data:
        raise TimeoutError if late.is_set() else EOFError
    return pickle.loads(data)


def _end_orphans() -> None:
    children = Path("/proc/self/task") / str(threading.get_native_id()) / "children"
    while pids := [int(pid) for pid in children.read_text().split()]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
