"""`crishim completion SHELL`: what a shell completes after `crishim`, made from the parser."""

import argparse
from pathlib import Path

from crishim.cli.command_tree import arguments, commands


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The shell's completion script. An argument that is a Path is completed with the names of files."""
    import shtab

    for action in (a for each in (parser, *commands(parser)) for a in arguments(each)):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return shtab.complete(parser, shell=shell).rstrip() + "\n"
