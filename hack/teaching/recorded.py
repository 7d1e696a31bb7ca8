"""`crishim serve` with one thing more: it writes down which editor of config.json set which part.

usage: -m hack.teaching.recorded PYTHON -m crishim serve --config FILE       (as tests/support/daemon.py has it)

Beside FILE is then `origins`, a JSON object: path of a value in config.json -> "crishim/spec/command.py process_args".
Each container that is created adds to it. What is not in it is from bundles/base.json, or came after the editors.
"""

import json
import sys
from pathlib import Path
from typing import Any

from crishim import __main__ as program
from crishim.spec import build
from crishim.spec.inputs import Draft, Inputs
from hack.teaching.parts import flatten


def recorder(editor: build.Editor, origins: dict[str, str], file: Path) -> build.Editor:
    """The editor, and what it changed added to origins."""
    name = f"{editor.__module__.replace('.', '/')}.py {getattr(editor, '__name__', '')}"

    def edit(draft: Draft, inputs: Inputs) -> None:
        before = texts(draft.spec)
        editor(draft, inputs)
        origins.update({path: name for path, text in texts(draft.spec).items() if before.get(path) != text})
        file.write_text(json.dumps(origins))

    return edit


def texts(spec: dict[str, Any]) -> dict[str, str]:
    """The parts as text: editors change lists and objects in place."""
    return {path: json.dumps(value) for path, value in flatten(spec).items()}


def main() -> int:
    file = Path(sys.argv[-1]).with_name("origins")
    origins: dict[str, str] = {}
    build.EDITORS = tuple(recorder(editor, origins, file) for editor in build.EDITORS)
    sys.argv = ["crishim", *sys.argv[4:]]
    return program.main()


if __name__ == "__main__":
    sys.exit(main())
