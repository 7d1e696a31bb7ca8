"""crishim(8): what it holds, and that those who read man pages find no fault in it."""

import re
import shutil
import subprocess

import pytest

from crishim.__main__ import _parser
from crishim.cli.command_tree import arguments, commands
from crishim.cli.default_config import described_settings
from crishim.cli.man_page import render

READERS = {
    "groff": ("groff", "-man", "-Tutf8", "-ww", "-z"),
    "mandoc": ("mandoc", "-T", "lint", "-W", "warning"),
    "man": ("man", "--warnings=w", "-l", "-"),
}


def test_every_command_option_and_setting_is_in_it() -> None:
    """Each under its name, with what it is for."""
    text = render(_parser()).replace("\\-", "-")
    assert "crishim netdev attach" in text
    for command in commands(_parser()):
        section = text.partition(f'.SS "{command.prog}"\n')[2].partition("\n.S")[0]
        assert section.startswith(str(command.description)), command.prog
        for action in (a for a in arguments(command) if a.option_strings and a.dest != "config"):
            assert re.search(rf"^\\fB{', '.join(action.option_strings)}\b", section, re.MULTILINE), action
    for name, said in described_settings():
        assert f"\\fB{name}\\fR\n{said}".replace("\\fB", "") in text.replace("\\fB", ""), name


@pytest.mark.parametrize("reader", READERS)
def test_readers_have_no_warnings(reader: str) -> None:
    """groff, mandoc and man, whichever are here."""
    if not shutil.which(reader):
        pytest.skip(f"there is no {reader} on this host")
    command = READERS[reader]
    done = subprocess.run(command, input=render(_parser()), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert reader == "man" or not done.stdout
