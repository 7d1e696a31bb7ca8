"""`crishim completion SHELL`: print the shell's completion script, made from the parser."""

import argparse
from pathlib import Path

from crishim.cli.command_tree import arguments, commands


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The shell's completion script. Arguments of type Path are completed with file names."""
    import shtab

    for action in (a for each in (parser, *commands(parser)) for a in arguments(each)):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return shtab.complete(parser, shell=shell).rstrip() + "\n"
