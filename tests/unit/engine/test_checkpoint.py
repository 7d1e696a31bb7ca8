"""What an error quotes of criu's log."""

from pathlib import Path

import pytest

from crishim.engine.checkpoint import criu_errors

HARMLESS = "(00.000158) Error (criu/util.c:1077): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n"
REFUSED = "(00.071212) Error (criu/tty.c:1871): tty: Found dangling tty with sid 7 pgid 7 (/dev/pts/0) on peer fd 0.\n"
FAILED = "(00.079330) Error (criu/cr-dump.c:2098): Dumping FAILED.\n"


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", ""),
        (HARMLESS, ""),
        ("(00.000100) Warn  (criu/kerndat.c:1): something\n" + HARMLESS + "(00.2) Restore finished\n", ""),
        (
            HARMLESS + REFUSED + FAILED,
            " (criu: tty: Found dangling tty with sid 7 pgid 7 (/dev/pts/0) on peer fd 0.; Dumping FAILED.)",
        ),
        (3 * FAILED, " (criu: Dumping FAILED.; Dumping FAILED.)"),
    ],
    ids=["none", "a warning", "among others", "beside errors", "the first two"],
)
def test_the_first_errors_are_quoted(tmp_path: Path, log: str, expected: str) -> None:
    """Not what criu calls an error and goes on after."""
    (tmp_path / "dump.log").write_text(log)
    assert criu_errors(tmp_path / "dump.log") == expected


def test_no_log_is_nothing_said(tmp_path: Path) -> None:
    assert criu_errors(tmp_path / "dump.log") == ""
