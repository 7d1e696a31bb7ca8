"""Makes every call that may block raise on the event loop's thread, and writes down where it was made.

For a `crishim serve` process (sitecustomize.py): $CRISHIM_LOOP_GUARD names the file the findings go to, a JSON object
each. Most calls announce themselves to audit hooks (sys.audit: open, os.listdir, subprocess.Popen, time.sleep, ...);
those that do not (os.stat and its like) are wrapped. A thread is the event loop's if a loop runs in it. What is allowed
is named in ALLOWED, each with its reason; until recovery begins, when the sockets are open, everything is.
"""

import asyncio
import functools
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

# Audit events (docs.python.org, "Audit events table") whose call waits for a file system, another process or a clock.
EVENTS = (
    "open",
    "os.",
    "shutil.",
    "tempfile.",
    "pathlib.",
    "glob.",
    "subprocess.",
    "fcntl.flock",
    "fcntl.lockf",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.gethostbyaddr",
)
HARMLESS = {"os.putenv", "os.unsetenv", "os.kill", "os.killpg", "os.exec", "os.fork", "os.add_dll_directory"}
# Calls without an audit event.
SILENT = ("stat", "lstat", "access", "readlink", "statvfs", "pread", "fsync", "fdatasync", "sync", "waitpid", "umask")

# Functions, of the product or of libraries, in whose course anything may be called; and why that does not block.
ALLOWED = {
    "sitecustomize:reached": "the harness itself",
    "crishim.linux.processes:start_time": "/proc/PID/stat of one process: memory only, no lock of that process's",
    "crishim.linux.processes:is_alive": "/proc/PID/stat, as start_time()",
    "crishim.linux.processes:open_pidfd": "pidfd_open(2), and start_time()",
    "asyncio.unix_events:_do_wait": "waitpid(2) of a child whose pidfd says that it has ended",
    "asyncio.base_events:subprocess_exec": "vfork and exec: returns when the program has been executed",
    "asyncio.base_events:shutdown_default_executor": "asyncio's own pool, which has no thread",
    "importlib._bootstrap:_find_and_load": "a module's first import: once in the daemon's life",
}
# grpc.aio's own thread, joined by compiled code when the last server is freed: at the end of the daemon.
GRPC_POLLER = "_poll_wrapper"

_found: Any = None


class Blocked(BaseException):
    """Raised in place of the call; no handler of the product catches it."""


def _on_loop() -> bool:
    return _found is not None and asyncio._get_running_loop() is not None


def _check(call: str, detail: object) -> None:
    if call == "Thread.join" and GRPC_POLLER in repr(detail):
        return
    stack = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = f"{frame.f_globals.get('__name__', '')}:{frame.f_code.co_name}"
        if name in ALLOWED:
            return
        stack.append(f"{name}:{frame.f_lineno}")
        frame = frame.f_back
    text = json.dumps({"call": call, "detail": repr(detail)[:200], "stack": stack[:25]}) + "\n"
    os.write(_found, text.encode())
    raise Blocked(f"{call} on the event loop's thread: {detail!r:.200}")


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], int):
        return  # of a descriptor, nothing is opened
    if event.startswith(EVENTS) and event not in HARMLESS and _on_loop():
        _check(event, arguments)


def _wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def around(*args: Any, **kwargs: Any) -> Any:
        if _on_loop():
            _check(name, args)
        return function(*args, **kwargs)

    return around


def _trial() -> None:
    """One call of each sort, for the test of the guard itself."""
    for call in (lambda: os.stat("/"), lambda: Path("/dev/null").read_bytes(), lambda: time.sleep(0), os.listdir):
        try:
            call()
        except Blocked:
            continue


def install(path: str) -> None:
    """Wrap and hook; armed when recovery begins."""
    for name in SILENT:
        setattr(os, name, _wrap(f"os.{name}", getattr(os, name)))
    time.sleep = _wrap("time.sleep", time.sleep)
    threading.Thread.join = _wrap("Thread.join", threading.Thread.join)  # type: ignore[method-assign]
    recovery = importlib.import_module("crishim.operations.recover")
    recover = recovery.recover

    async def armed(*args: Any, **kwargs: Any) -> Any:
        global _found
        _found = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if os.environ.get("CRISHIM_LOOP_GUARD_TRIAL"):
            _trial()
        return await recover(*args, **kwargs)

    recovery.recover = armed  # type: ignore[attr-defined]
    sys.addaudithook(_hook)
