"""A logging handler that writes in a thread, from a bounded queue: writing to a pipe nobody reads would block.

Lines that do not fit into the queue are dropped; their number is logged once writing is possible again.
"""

import contextlib
import logging
import logging.handlers
import os
import queue
import sys
import threading
import time

LINES = 4096  # in the queue; formatters limit the length of each (logs.py)


class QueuedOutput(logging.handlers.QueueHandler):
    """Formats a record in the thread that logs it, and writes it in a thread of its own."""

    def __init__(self, descriptor: int, lines: int = LINES) -> None:
        """descriptor: of a file, pipe, terminal or socket; the thread blocks on it without limit."""
        self._lines: queue.Queue[str] = queue.Queue(lines)
        super().__init__(self._lines)
        self._descriptor = descriptor
        self._dropped = 0
        threading.Thread(target=self._serve, name="log", daemon=True).start()

    def prepare(self, record: logging.LogRecord) -> str:
        return self.format(record)

    def enqueue(self, record: str) -> None:  # type: ignore[override]  # what prepare() made
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def handleError(self, record: logging.LogRecord) -> None:
        """Log that a line cannot be formatted: logging's own handleError() writes to stderr, which may block."""
        text = f"a log line cannot be formatted: {record.msg!r:.200}: {sys.exception()!r}"
        self.enqueue(self.format(_record(text)))

    def flush_within(self, seconds: float) -> bool:
        """Wait until all lines are written, at most `seconds`; returns whether they are. Blocks."""
        deadline = time.monotonic() + seconds
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.005)
        return not self._lines.unfinished_tasks

    def _serve(self) -> None:
        while True:
            self._write(self._lines.get())
            if self._dropped:
                with self.lock or contextlib.nullcontext():
                    dropped, self._dropped = self._dropped, 0
                notice = _record("log lines were dropped: nobody read them in time")
                notice.lines = dropped
                self._write(self.format(notice))
            self._lines.task_done()

    def _write(self, line: str) -> None:
        left = memoryview((line + "\n").encode(errors="backslashreplace"))
        with contextlib.suppress(OSError):  # the reader has closed its end
            while left:
                left = left[os.write(self._descriptor, left) :]


def _record(message: str) -> logging.LogRecord:
    return logging.LogRecord("crishim.log", logging.WARNING, __file__, 0, message, None, None)
