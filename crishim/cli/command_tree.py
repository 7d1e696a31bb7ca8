"""Walk the commands of a parser, for shell completion and the man page."""

import argparse
from collections.abc import Iterator


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Every command without subcommands, in the order of `--help`."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for each in group.choices.values():
            yield from commands(each)


def arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """A command's arguments and options, without --help and subcommands."""
    left_out = (argparse._HelpAction, argparse._SubParsersAction)
    return [action for action in parser._actions if not isinstance(action, left_out)]
