"""Processes that are only remembered, in place of the kernel's: crishim/linux/processes.py tells of them.

    processes = ProcessesInMemory()
    processes.install(monkeypatch)
    process = processes.start(on_end=...)        its end: process.end(code); process.reference for the records
    process.lasts[15] = 3.0                      seconds it takes to end after that signal; inf: it never does

A pidfd is an eventfd that is readable when the process has ended: what waits for one waits as it does for a real one.
"""

import asyncio
import math
import os
from collections.abc import Callable

import pytest

from crishim.linux import processes
from crishim.model import ProcessRef

FIRST = 1 << 23  # beyond the largest pid of a kernel


class Process:
    """One process. signals: what it was sent."""

    def __init__(self, pid: int, on_end: Callable[[int], None]) -> None:
        self.reference = ProcessRef(pid=pid, start_time=pid)
        self.lasts: dict[int, float] = {}
        self.signals: list[int] = []
        self.alive = True
        self._on_end = on_end
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    @property
    def pid(self) -> int:
        return self.reference.pid

    def end(self, code: int = 137) -> None:
        """It ends now, by itself or killed by somebody. code: as an exit file has it."""
        if self.alive:
            self.alive = False
            self._on_end(code)
            os.eventfd_write(self._fd, 1)

    def open(self) -> int:
        return os.dup(self._fd)

    def close(self) -> None:
        self.alive = False
        os.close(self._fd)

    def signal(self, number: int) -> None:
        self.signals.append(number)
        lasts = self.lasts.get(number, 0.0)
        if lasts == 0:
            self.end(128 + number)
        elif lasts < math.inf:
            asyncio.get_running_loop().call_later(lasts, self.end, 128 + number)


class ProcessesInMemory:
    """All of them, by pid; what is not one of them has ended."""

    def __init__(self) -> None:
        self._all: dict[int, Process] = {}

    def start(self, on_end: Callable[[int], None] = lambda code: None) -> Process:
        process = self._all[FIRST + len(self._all)] = Process(FIRST + len(self._all), on_end)
        return process

    def living(self) -> list[int]:
        return [pid for pid, process in self._all.items() if process.alive]

    def close(self) -> None:
        for process in self._all.values():
            process.close()
        self._all.clear()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stand in for the kernel's, everywhere."""
        monkeypatch.setattr(processes, "reference", self._reference)
        monkeypatch.setattr(processes, "open_pidfd", self._open_pidfd)
        monkeypatch.setattr(processes, "is_alive", lambda process: self._find(process) is not None)
        monkeypatch.setattr(processes, "send_signal", self._send_signal)

    def _find(self, reference: ProcessRef) -> Process | None:
        process = self._all.get(reference.pid)
        return process if process is not None and process.alive else None

    def _reference(self, pid: int) -> ProcessRef | None:
        process = self._all.get(pid)
        return process.reference if process is not None and process.alive else None

    def _open_pidfd(self, reference: ProcessRef) -> int | None:
        process = self._find(reference)
        return process.open() if process is not None else None

    def _send_signal(self, reference: ProcessRef, number: int) -> bool:
        process = self._find(reference)
        if process is None:
            return False
        process.signal(number)
        return True
