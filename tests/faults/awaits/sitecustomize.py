"""Counts the await points of every operation of a daemon, and makes one of them fail, without a line of test code in
the product. Python imports this module at start when its directory is on PYTHONPATH (site, "sitecustomize").

An operation is a task of the daemon (operations/tasks.py), the recovery at its start ("recovery"), a connection
of the streaming server ("session") or an answer in parts (its RPC's name), with every task it starts. Its points are of
two kinds:

    await   it was suspended; what it waited for has come, and is lost: it gets an error in its place, or is cancelled
    kernel  it is about to have a thread or a program touch the kernel: that fails, and nothing was done

$CRISHIM_AWAITS is a directory. A file `arm` in it, {"operation", "kind", "point", "fault"}, is taken by the next
operation of that name. When the operation ends the file `done` says {"await": [places], "kernel": [places], "hit":
place or ""}. A place is the innermost lines of crishim it stands at, at most DEPTH of them: one line that many callers
wait in is many places. A fault is "cancel" or the name of an errno; point 0 is never reached: it counts.
"""

import asyncio
import functools
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.suspensions import CURRENT, DEPTH, Operation, driven, error_of, line_of, make_task, place_of

DIRECTORY = Path(os.environ.get("CRISHIM_AWAITS", "/nonexistent"))
# Coroutine functions that hand work to a thread or a program.
TOUCHING = """
asyncio to_thread create_subprocess_exec
crishim.linux.executors Executor.__call__
crishim.linux.async_files read write
crishim.linux.pod_paths PodPaths.run
crishim.netdev.netns_executor NetnsExecutor._call
"""


def armed(name: str) -> Operation | None:
    """What is wanted of an operation that begins now."""
    try:
        wanted = json.loads((DIRECTORY / "arm").read_text())
    except (FileNotFoundError, ValueError):
        return None
    if name.split(" ")[0] != wanted.pop("operation"):
        return None
    (DIRECTORY / "arm").unlink()
    return Operation(**wanted)


def report(operation: Operation) -> None:
    beside = DIRECTORY / "done.tmp"
    beside.write_text(json.dumps(operation.seen | {"hit": operation.hit}))
    beside.rename(DIRECTORY / "done")


async def begun(work: Coroutine[Any, Any, Any], operation: Operation) -> Any:
    CURRENT.set(operation)
    operation.task = asyncio.current_task()
    try:
        return await driven(work, operation)
    finally:
        report(operation)


def touching(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def around(*args: Any, **kwargs: Any) -> Any:
        operation = CURRENT.get()
        if operation is not None and not _nested():
            frame: FrameType | None = sys._getframe(1)
            lines: list[str] = []
            while frame is not None:
                lines += line_of(frame)
                frame = frame.f_back
            place = " < ".join(lines[:DEPTH]) or "?"
            if fault := operation.reached("kernel", place):
                raise error_of(fault)
        return await function(*args, **kwargs)

    return around


def _nested() -> bool:
    """Whether a function that hands work on was called by another one."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name == "around" and frame.f_code.co_filename == __file__:
            return True
        frame = frame.f_back
    return False


def install() -> None:
    for line in TOUCHING.strip().split("\n"):
        module_name, *names = line.split()
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError:
            continue
        for name in names:
            *owner, attribute = name.split(".")
            holder = getattr(module, owner[0]) if owner else module
            setattr(holder, attribute, touching(getattr(holder, attribute)))
    importlib.import_module("crishim.cli.serve")  # before grpc: it tells that how to be
    from crishim.cri import server
    from crishim.cri.stream.server import StreamServer
    from crishim.operations import recover
    from crishim.operations.tasks import Tasks

    start, streaming = Tasks._start, server._streaming

    def _start(self: Tasks, work: Any, name: str) -> Any:
        before = CURRENT.set(None)  # an operation that another one starts is its own
        try:
            return start(self, operated(work, name), name)
        finally:
            CURRENT.reset(before)

    def _streaming(name: str, gate: Any) -> Any:
        answer = streaming(name, gate)

        async def call(request: Any, context: Any) -> Any:
            if (operation := started(name)) is None:
                async for part in answer(request, context):
                    yield part
                return
            operation.task = asyncio.current_task()
            CURRENT.set(operation)
            parts = answer(request, context)
            try:
                while True:
                    yield await driven(_next(parts), operation)
            except StopAsyncIteration:
                pass
            finally:
                report(operation)

        return call

    for holder, name, wrapped in (
        (Tasks, "_start", _start),
        (server, "_streaming", _streaming),
        (StreamServer, "serve_connection", operating(StreamServer.serve_connection, "session")),
        (recover, "recover", operating(recover.recover, "recovery")),
    ):
        setattr(holder, name, wrapped)


async def _next(parts: Any) -> Any:
    return await anext(parts)


def started(name: str) -> Operation | None:
    """The operation that begins now, if it is the armed one."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(make_task)
    loop.add_signal_handler(signal.SIGUSR1, tell_tasks)
    return armed(name)


def operated(work: Any, name: str) -> Any:
    operation = started(name)
    return begun(work, operation) if operation is not None else work


def operating(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(function)
    async def run_operation(*args: Any, **kwargs: Any) -> Any:
        return await operated(function(*args, **kwargs), name)

    return run_operation


def tell_tasks() -> None:
    """Print where every task stands: of a daemon that hangs."""
    for task in asyncio.all_tasks():
        print(task.get_name(), place_of(task.get_coro()), task, file=sys.stderr, flush=True)  # noqa: T201


if "serve" in sys.orig_argv:
    install()
