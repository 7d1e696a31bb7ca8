"""Lines of the log."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.cri.logs import ConsoleFormatter, JsonFormatter, set_up
from crishim.operations import log_context


@pytest.fixture
def loggers() -> Iterator[None]:
    """The root logger as it was."""
    root, ours = logging.getLogger(), logging.getLogger("crishim")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before


def line(message: str, *args: object, **facts: object) -> logging.LogRecord:
    record = logging.LogRecord("crishim.x", logging.WARNING, "f", 1, message, args, None)
    vars(record).update(facts)
    return record


async def test_json() -> None:
    """Time in UTC, level, logger, message, the call's ids, facts; anything can be a fact."""
    log_context.begin(rpc="R", pod="p")
    found = json.loads(JsonFormatter().format(line("did %s", "it", path=object, n=5)))
    assert found["time"].endswith("+00:00")
    assert (found["level"], found["logger"], found["message"]) == ("warning", "crishim.x", "did it")
    assert (found["rpc"], found["pod"], found["n"]) == ("R", "p", 5)


def test_one_line_each() -> None:
    """Whatever is in a message or fact."""
    text = JsonFormatter().format(line("two\nlines", fact="a\u2028b\n"))
    assert len(text.splitlines()) == 1


async def test_console() -> None:
    """For people: time, level, message, facts."""
    log_context.begin(rpc="R")
    text = ConsoleFormatter().format(line("message", n=5))
    assert text.endswith(" warning message  rpc=R n=5")


@pytest.mark.parametrize("name", ["password", "auth_header", "registry_token", "Secret", "credentials", "PASSWD"])
def test_facts_that_speak_of_secrets(name: str) -> None:
    """Their values are blanked, in both forms."""
    record = line("m", **{name: "hunter2"})
    for formatter in (JsonFormatter(), ConsoleFormatter()):
        assert "hunter2" not in formatter.format(record)
        assert "***" in formatter.format(record)


def test_tracebacks() -> None:
    """Of an error nobody expected."""
    try:
        raise KeyError("x")
    except KeyError as error:
        record = line("m")
        record.exc_info = (KeyError, error, error.__traceback__)
    assert "KeyError" in json.loads(JsonFormatter().format(record))["traceback"]
    assert "KeyError" in ConsoleFormatter().format(record)


@pytest.mark.parametrize(
    ("form", "terminal", "json_lines"),
    [("json", True, True), ("console", False, False), ("auto", True, False), ("auto", False, True)],
)
def test_set_up(
    loggers: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str, terminal: bool, json_lines: bool
) -> None:
    """The form, and the level of our own lines; others' lines from warning on."""
    stream = (tmp_path / "log").open("w")
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    output = set_up("info", form, stream)
    logging.getLogger("crishim.x").info("ours")
    logging.getLogger("crishim.x").debug("too little")
    logging.getLogger("other").info("theirs")
    assert output.flush_within(30)
    stream.close()
    text = (tmp_path / "log").read_text()
    assert text.count("\n") == 1
    assert text.startswith("{") == json_lines
    assert "ours" in text
