"""Calls of linux functions, noted instead of made: what is asked of the kernel, and its refusals on demand."""

import errno
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


class Calls:
    """made: (function, arguments after the first, which is the socket or the name) in order.

    refuse: the errno a call fails with, by the function's name, or by that with one of its arguments.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.made: list[tuple[Any, ...]] = []
        self.refuse: dict[Any, int] = {}

    def note(self, module: ModuleType, *names: str, answer: Callable[..., Any] = lambda *_, **__: None) -> None:
        for name in names:
            self._monkeypatch.setattr(module, name, self._noting(name, answer))

    def tell(self, module: ModuleType, **answers: Any) -> None:
        """Functions that only read: their answers."""
        for name, answer in answers.items():
            self._monkeypatch.setattr(module, name, lambda *_, answer=answer, **__: answer)

    def _noting(self, name: str, answer: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            what = (name, *arguments[1:], *options.values())
            for key, number in self.refuse.items():
                if key == name or (isinstance(key, tuple) and key[0] == name and key[1] in what):
                    raise OSError(number, os.strerror(number))
            self.made.append(what)
            return answer(*arguments, **options)

        return call


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


BUSY, INVALID = errno.EBUSY, errno.EINVAL
