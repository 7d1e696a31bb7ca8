"""Counting what code does instead of timing it: the same on every machine."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def work(run: Callable[[], object]) -> int:
    """How many bytecode instructions run() executes in crishim's files. Loops inside C functions do not count."""
    count = 0

    def instruction(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "opcode"
        return instruction

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        if "/crishim/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return instruction

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        run()
    finally:
        sys.settrace(before)
    return count
