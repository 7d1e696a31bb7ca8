"""`crishim man`: crishim(8) as man(7) source, made from the parser and from the settings' descriptions."""

import argparse
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import crishim
from crishim.cli.command_tree import arguments, commands
from crishim.cli.default_config import described_settings
from crishim.config_files import DEFAULT_PATH

_FILES = (
    (str(DEFAULT_PATH), "settings"),
    (f"{DEFAULT_PATH.with_suffix('.d')}/*.toml", "more of them, read by name; the later wins"),
    ("/run/crishim/crishim.sock", "where the daemon answers, unless the settings say otherwise"),
    ("/var/lib/crishim", "records, images and writable layers"),
)
_SIGNALS = (
    ("SIGHUP", "read the settings again, and put in force those that can change under way"),
    ("SIGTERM, SIGINT", "answer the calls under way and end; containers go on"),
)
_STATUSES = (("0", "success"), ("1", "a failure, which stderr tells in a line"), ("2", "wrong arguments or settings"))


def render(parser: argparse.ArgumentParser) -> str:
    """The page's source."""
    made = time.gmtime(Path(crishim.__file__).stat().st_mtime)
    lines = [
        f'.TH CRISHIM 8 "{time.strftime("%Y-%m-%d", made)}" "crishim {crishim.__version__}" "System Administration"'
    ]
    lines += [".SH NAME", f"crishim \\- {_escape(parser.description or '')}".rstrip(".")]
    lines += [".SH SYNOPSIS", _usage(parser), ".SH DESCRIPTION"]
    lines += [
        "crishim serves the Container Runtime Interface to a kubelet or crictl(1), with CNI plugins, conmon(8) and"
    ]
    lines += ["an OCI runtime (crun(1), runc(8)); network devices of the host are given to pods and come back."]
    lines += [".SH OPTIONS", *_items(_options(parser)), ".SH COMMANDS"]
    for command in commands(parser):
        lines += [f'.SS "{_escape(command.prog)}"', _escape(_sentence(command.description or ""))]
        lines += [".PP", usage] if (usage := _usage(command)) != _escape(command.prog) else []
        lines += _items((name, text) for name, text in _options(command) if not name.startswith("--config"))
    lines += [".SH SETTINGS", "TOML; each key with its default.", *_items(described_settings())]
    for title, items in (("FILES", _FILES), ("SIGNALS", _SIGNALS), ("EXIT STATUS", _STATUSES)):
        lines += [f".SH {title}", *_items(items)]
    return "\n".join(lines) + "\n"


def _options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in arguments(parser):
        value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
        if not action.option_strings and not action.help:
            continue  # it is in the synopsis
        yield " ".join(filter(None, (", ".join(action.option_strings), value))), action.help or ""


def _usage(parser: argparse.ArgumentParser) -> str:
    words = parser.format_usage().removeprefix("usage: ").split()
    return _escape(" ".join(words).replace("[-h] ", "").replace(" [-h]", "").replace(" [--config FILE]", ""))


def _items(items: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, text in items:
        yield from (".TP", f"\\fB{_escape(name)}\\fR", _escape(_sentence(text)))


def _sentence(text: str) -> str:
    return " ".join(text.split())


def _escape(text: str) -> str:
    """Escape text for roff: backslashes, requests at the line's start, and hyphens, as minus signs to be copied."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
