"""Tests against mutants: which tests reach which line, and which mutant no test notices.

Each run is a forked child that imports the module under test in its mutated form; nothing is written to the tree.
"""

import ast
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import pickle
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest

Reached = dict[tuple[str, int], list[str]]  # (file, line) -> tests, the quickest first


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a syntax tree."""

    def __init__(self, module: str, path: Path, tree: ast.Module) -> None:
        self.module, self.path = module, path
        self.code: CodeType = compile(tree, str(path), "exec")

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.module else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code, module.__dict__)


class Tracer:
    """A pytest plugin: the lines below `root` that each test runs, in whatever thread."""

    def __init__(self, root: Path) -> None:
        self.root = f"{root}/"
        self.test = ""
        self.lines: dict[str, set[tuple[str, int]]] = defaultdict(set)
        self.seconds: dict[str, float] = {}

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self.root):
            return None
        self.lines[self.test].add((frame.f_code.co_filename, frame.f_lineno))
        return self.trace

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self.test = item.nodeid
        started = time.monotonic()
        threading.settrace(self.trace)
        sys.settrace(self.trace)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
            self.seconds[item.nodeid] = time.monotonic() - started


def reach(tests: Sequence[str], root: Path) -> Reached:
    """Run the tests once, as they are; raises RuntimeError if one fails, since then no mutant means anything."""

    def child() -> tuple[int, dict[str, set[tuple[str, int]]], dict[str, float]]:
        tracer = Tracer(root)
        status = pytest.main([*QUIET, *tests], plugins=[tracer])
        return int(status), dict(tracer.lines), tracer.seconds

    status, lines, seconds = in_child(child, 1800)
    if status:
        raise RuntimeError(f"the tests fail without any mutant: pytest ended with {status}")
    found: Reached = defaultdict(list)
    for test in sorted(seconds, key=lambda t: seconds[t]):
        for place in lines.get(test, ()):
            found[place].append(test)
    return found


QUIET = ["-q", "-x", "--no-header", "-p", "no:cacheprovider", "--timeout=60", "--disable-warnings"]


def survives(module: str, path: Path, tree: ast.Module, tests: Sequence[str], seconds: float) -> bool:
    """Whether all these tests pass with the mutant. One that takes longer than `seconds` is noticed."""

    def child() -> int:
        sys.meta_path.insert(0, Mutated(module, path, tree))
        return int(pytest.main([*QUIET, *tests]))

    try:
        return bool(in_child(child, seconds) == 0)
    except (TimeoutError, EOFError):
        return False


def in_child(work: Callable[[], Any], seconds: float) -> Any:
    """The result of work() in a forked child, its output thrown away. TimeoutError, EOFError (it died)."""
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
            with os.fdopen(send, "wb") as pipe:
                pickle.dump(result, pipe)
        os._exit(0)
    os.close(send)
    late = threading.Timer(seconds, lambda: os.killpg(pid, signal.SIGKILL))
    started = time.monotonic()
    late.start()
    try:
        with os.fdopen(receive, "rb") as pipe:
            data = pipe.read()
    finally:
        late.cancel()
        os.waitpid(pid, 0)
    if not data:
        raise TimeoutError if time.monotonic() - started >= seconds else EOFError
    return pickle.loads(data)
