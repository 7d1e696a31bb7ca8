"""Log output through a pipe nobody reads: lines are dropped and counted, and nobody who logs waits."""

import json
import logging
import os
import time
from collections.abc import Iterator

import pytest

from crishim.cri.log_output import QueuedOutput
from crishim.cri.logs import MAX_LINE, JsonFormatter


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def logger_for(descriptor: int, lines: int) -> tuple[logging.Logger, QueuedOutput]:
    output = QueuedOutput(descriptor, lines)
    output.setFormatter(JsonFormatter())
    log = logging.Logger("crishim.test")
    log.addHandler(output)
    return log, output


def read_all(descriptor: int, output: QueuedOutput) -> list[dict[str, object]]:
    os.set_blocking(descriptor, False)
    text, deadline = b"", time.monotonic() + 30
    while time.monotonic() < deadline:
        all_written = output.flush_within(0)
        try:
            text += os.read(descriptor, 1 << 20)
        except BlockingIOError:
            if all_written:
                break
            output.flush_within(0.05)
    return [json.loads(line) for line in text.splitlines()]


def test_lines_nobody_reads_are_dropped_and_counted(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log, output = logger_for(writer, 50)
    for number in range(5000):  # far more than the pipe and the queue hold
        log.warning("line %d", number, extra={"filler": "x" * 1000})
    assert not output.flush_within(0.05)
    found = read_all(reader, output)
    lines = [line for line in found if line["logger"] == "crishim.test"]
    notices = [line for line in found if line["logger"] == "crishim.log"]
    assert lines[0]["message"] == "line 0"
    assert [n["level"] for n in notices] == ["warning"] * len(notices)
    assert len(lines) + sum(int(str(n["lines"])) for n in notices) == 5000
    log.warning("and on")
    assert read_all(reader, output)[-1]["message"] == "and on"


def test_a_reader_that_is_gone_stops_nobody() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log, output = logger_for(writer, 10)
    log.warning("into the void")
    assert output.flush_within(30)
    os.close(writer)


def test_a_long_line_is_cut_and_still_json(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log, output = logger_for(writer, 10)
    log.warning("m" * MAX_LINE, extra={"path": "p" * MAX_LINE})
    found = read_all(reader, output)
    assert len(found) == 1
    assert int(str(found[0]["cut"])) > 2 * MAX_LINE
    assert str(found[0]["message"]).startswith("mmm")
    assert len(json.dumps(found[0])) < MAX_LINE


def test_a_line_that_cannot_be_formatted_is_told(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log, output = logger_for(writer, 10)
    log.warning("%d of", "no number")
    (found,) = read_all(reader, output)
    assert "cannot be formatted: '%d of'" in str(found["message"])
