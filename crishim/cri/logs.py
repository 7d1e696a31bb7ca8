"""Structured logs: each line has time, level, logger, message and facts; lines of an RPC its name, pod and container.

Secrets: an RPC's request is never logged, only the ids in it; facts come from the code that logs. As a second line of
defence, the values of facts whose name contains a SECRET_WORDS entry are replaced by ***.
"""

import datetime
import json
import logging
import sys
from typing import Any, TextIO

from crishim.cri.log_output import QueuedOutput
from crishim.operations import log_context

SECRET_WORDS = ("password", "passwd", "secret", "token", "auth", "credential")
MAX_LINE, MAX_TEXT = 64 << 10, 16 << 10  # characters of a line; of its message and traceback if it is longer
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """The facts of a line: the RPC's context, then what was passed as `extra`."""
    extra = {k: v for k, v in vars(record).items() if k not in _STANDARD}
    facts = log_context.current() | extra
    return {k: "***" if any(w in k.lower() for w in SECRET_WORDS) else v for k, v in facts.items()}


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= facts_of(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)[-MAX_TEXT:]
        text = json.dumps(line, default=str)
        if len(text) <= MAX_LINE:
            return text
        cut = {k: v[:MAX_TEXT] if isinstance(v, str) else v for k, v in (line | log_context.current()).items()}
        kept = ("time", "level", "logger", "message", "traceback", *log_context.current())
        return json.dumps({k: v for k, v in cut.items() if k in kept} | {"cut": len(text)}, default=str)


class ConsoleFormatter(logging.Formatter):
    """For people: time, level, message, facts as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{k}={v}" for k, v in facts_of(record).items())
        text = f"{_time(record)[11:23]} {record.levelname.lower():7} {record.getMessage()}" + (
            f"  {facts}" if facts else ""
        )
        return text[:MAX_LINE] + ("\n" + self.formatException(record.exc_info)[-MAX_TEXT:] if record.exc_info else "")


def _time(record: logging.LogRecord) -> str:
    return datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")


def set_up(level: str, form: str, stream: TextIO = sys.stderr) -> QueuedOutput:
    """Send the project's logs to stream. form: json, console, or auto (console at a terminal).

    Lines are written by a thread: see flush_within() for the end of the process.
    """
    console = form == "console" or (form == "auto" and stream.isatty())
    handler = QueuedOutput(stream.fileno())
    handler.setFormatter(ConsoleFormatter() if console else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("crishim").setLevel(level.upper())
    return handler
