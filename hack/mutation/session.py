"""Tests against mutants: which tests reach which line, and which test notices a mutant.

One pytest session imports and collects everything once; each mutant costs a fork and the tests that reach it.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from hack.mutation.child import adopt_orphans, in_child
from hack.mutation.operators import Mutant
from hack.mutation.swap import live_functions, swap

PROFILE = "mutants"
QUIET = ["-s", "-p", "no:terminal", "-p", "no:cacheprovider", "-o", "addopts=--strict-markers --import-mode=importlib"]
OPTIONS = [*QUIET, "-x", f"--hypothesis-profile={PROFILE}"]


class Trace:
    """seconds: of the run. lines: (file, line) below the root that it ran, in whatever thread."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.lines: set[tuple[str, int]] = set()


class Tests:
    """The tests of a session, by name."""

    def __init__(self, session: pytest.Session, root: Path) -> None:
        self._session = session
        self._root = f"{root}/"
        self._items = {item.nodeid: item for item in session.items}
        self._live = live_functions(self._root)
        self._failed: list[str] = []

    @property
    def names(self) -> list[str]:
        return list(self._items)

    def file(self, name: str) -> Path:
        return self._items[name].path

    def notices(self, path: Path, mutant: Mutant, tests: Mapping[str, float]) -> str:
        """The test that fails with the mutant, or what ended it; "" if all pass.

        tests: with the seconds each may take; one that takes longer has failed.
        """

        def child() -> str:
            swap(self._live, str(path), mutant.function, mutant.make())
            return self._run(list(tests), lambda name: Deadline(tests[name]))

        try:
            return str(in_child(child, sum(tests.values())))
        except (TimeoutError, EOFError):
            return "(the process died)"

    def trace(self, name: str) -> Trace:
        """Run one as it is, with nothing left of others: a pool's threads from before would not be traced.

        Raises RuntimeError if it fails, twice on a busy machine: no mutant means anything then.
        """

        def child() -> tuple[str, Trace]:
            found = Trace()
            return self._run([name], lambda _: Tracer(self._root, found)), found

        for _ in range(2):
            failed, trace = in_child(child, 600)
            if not failed:
                return trace  # type: ignore[no-any-return]
        raise RuntimeError(f"{failed} fails without any mutant")

    def _run(self, names: Sequence[str], around: Callable[[str], Any]) -> str:
        """Run tests until one fails; which."""
        items = [self._items[name] for name in names]
        for item, following in zip(items, [*items[1:], None], strict=True):
            with around(item.nodeid):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed:
                return self._failed[0]
        return ""

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.append(report.nodeid)


class Deadline:
    """Ends the process unless it is left within the seconds: a test that hangs may do so in any thread."""

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, os._exit, (1,))

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()


class Tracer:
    """Fills a trace for as long as it is entered."""

    def __init__(self, root: str, into: Trace) -> None:
        self._root, self._into = root, into
        self._started = 0.0

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._root):
            return None
        self._into.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._trace

    def __enter__(self) -> None:
        self._started = time.monotonic()
        threading.settrace(self._trace)
        sys.settrace(self._trace)

    def __exit__(self, *error: object) -> None:
        sys.settrace(None)
        threading.settrace(None)
        self._into.seconds = time.monotonic() - self._started


class _Plugin:
    def __init__(self, root: Path, work: Callable[[Tests], int]) -> None:
        self._root, self._work = root, work
        self.status = 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self) -> None:
        import hypothesis  # only now: pytest rewrites its asserts before

        hypothesis.settings.register_profile(
            PROFILE, deadline=None, database=None, derandomize=True, phases=(hypothesis.Phase.generate,)
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        tests = Tests(session, self._root)
        session.config.pluginmanager.register(tests)
        self.status = self._work(tests)
        return True


def with_tests(arguments: Sequence[str], root: Path, work: Callable[[Tests], int]) -> int:
    """work(the collected tests), in a session of pytest with these arguments; its result, 1 if it did not come to it.

    root: of the modules that are mutated. Examples that hypothesis finds are neither shrunk nor kept.
    """
    adopt_orphans()
    plugin = _Plugin(root, work)
    pytest.main([*OPTIONS, *arguments], plugins=[plugin])
    return plugin.status
