"""Completion, asked of the shells themselves."""

import shutil
import subprocess
from pathlib import Path

import pytest

from crishim.__main__ import _parser
from crishim.cli.completion import script

ASK_BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
function=$(complete -p crishim | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" crishim "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
# What completion offers, in a terminal: a zsh without one completes nothing.
ASK_ZSH = """
zmodload zsh/zpty
zpty z zsh -fi
zpty -w z "PS1= ; autoload -U compinit; compinit -D; fpath+=(${1:h}); autoload -U _crishim; compdef _crishim crishim"
zpty -w z "unsetopt list_beep; zstyle ':completion:*' list-colors ''; bindkey '^I' list-choices; echo rea''dy"
zpty -r z answer '*ready*'
shift
zpty -n -w z "${(j: :)@}"$'\\t'
zpty -r -m z answer '*show *' ; print -r -- $answer
zpty -d z
"""


@pytest.fixture
def scripts(tmp_path: Path) -> dict[str, Path]:
    """Each shell's script in a file."""
    made = {shell: tmp_path / name for shell, name in (("bash", "b"), ("zsh", "_crishim"), ("fish", "f"))}
    for shell, path in made.items():
        path.write_text(script(_parser(), shell))
    return made


def ask(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split("\t")[0] for line in done.stdout.splitlines() if line]


def test_bash(scripts: dict[str, Path], tmp_path: Path) -> None:
    """Commands, commands below them, options, choices, and files where a file is wanted."""

    def complete(*words: str) -> list[str]:
        return ask("bash", "--norc", "-c", ASK_BASH, "ask", str(scripts["bash"]), "crishim", *words)

    assert complete("ne") == ["netdev"]
    assert sorted(complete("netdev", "")) == ["attach", "detach", "list", "show"]
    assert complete("netdev", "list", "--ho") == ["--host"]
    assert complete("completion", "b") == ["bash"]
    (tmp_path / "archive.tar").write_text("")
    assert complete("images", "import", f"{tmp_path}/arch") == [f"{tmp_path}/archive.tar"]
    assert complete("--config", f"{tmp_path}/arch") == [f"{tmp_path}/archive.tar"]


@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish on this host")
def test_fish(scripts: dict[str, Path]) -> None:
    def complete(line: str) -> list[str]:
        return ask("fish", "--no-config", "-c", f"source {scripts['fish']}; complete -C '{line}'")

    assert complete("crishim ne") == ["netdev"]
    assert sorted(complete("crishim netdev ")) == ["attach", "detach", "list", "show"]
    assert complete("crishim netdev list --ho") == ["--host"]


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh on this host")
def test_zsh(scripts: dict[str, Path]) -> None:
    """The lists are made for people, so what is looked for is the name and its description."""
    said = "\n".join(ask("zsh", "-f", "-c", ASK_ZSH, "ask", str(scripts["zsh"]), "crishim", "netdev", ""))
    for name in ("attach", "detach", "list", "show"):
        assert f"{name} " in said
