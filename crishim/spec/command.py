"""The process's arguments, environment, working directory and terminal, from the request and the image's configuration.

config.json is JSON and so UTF-8, while an environment value is bytes. Measured: crun refuses a file with other bytes,
runc replaces them by U+FFFD. So a value that is not UTF-8 is not put into the file: the container's process is then
started by a static busybox, bind-mounted read-only, whose `env` sets the bytes and executes the container's command.
"""

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from crishim.errors import CrishimError, Kind
from crishim.spec.inputs import Draft, Inputs

LAUNCHER: Final = "/.crishim/busybox"  # the launcher in a container that needs it
_SHELLS_OWN: Final = ("PWD", "OLDPWD", "SHLVL")
_LONGEST: Final = 120_000  # bytes of one argument; the kernel's limit is 128 KiB (MAX_ARG_STRLEN, execve(2))


def process_args(draft: Draft, inputs: Inputs) -> None:
    """process.args: command replaces Entrypoint, args replace Cmd; a command without args drops Cmd."""
    config, image = inputs.config, _image_config(inputs)
    args = [*config.command, *config.args]
    if not config.command:
        args = [*(image.get("Entrypoint") or []), *(config.args or image.get("Cmd") or [])]
    if not args:
        raise CrishimError(Kind.INVALID, "neither the request nor the image says what to run", image=config.image.image)
    draft.spec["process"]["args"] = args


def process_environment(draft: Draft, inputs: Inputs) -> None:
    """process.env: PATH, TERM with a terminal, HOSTNAME, the image's, the request's; the later one wins."""
    process = draft.spec["process"]
    entries: dict[str, str] = _pairs(process["env"])
    if inputs.config.tty:
        entries["TERM"] = "xterm"
    if inputs.hostname:
        entries["HOSTNAME"] = inputs.hostname
    entries |= _pairs(_image_config(inputs).get("Env") or [])
    raw: dict[str, bytes] = {}
    for variable in inputs.config.envs:
        raw.pop(variable.key, None)
        try:
            entries[variable.key] = variable.value.decode()
        except UnicodeDecodeError:
            entries.pop(variable.key, None)
            raw[variable.key] = variable.value
    process["env"] = [f"{name}={value}" for name, value in entries.items()]
    if raw:
        _launch_with(draft, inputs.launcher, raw)


def process_cwd(draft: Draft, inputs: Inputs) -> None:
    """process.cwd: the request's, the image's, or "/"; the runtime makes it if it is missing."""
    image = _image_config(inputs).get("WorkingDir") or "/"
    draft.spec["process"]["cwd"] = inputs.config.working_dir or posixpath.join("/", image)


def process_terminal(draft: Draft, inputs: Inputs) -> None:
    draft.spec["process"]["terminal"] = inputs.config.tty


def launch(args: Sequence[str], env: Sequence[str], raw: Mapping[str, bytes]) -> list[str]:
    """Arguments that set variables to raw bytes and then execute args, for the launcher in the container.

    The shell in between drops variables whose name is not an identifier and sets three itself: env corrects both.
    """
    if "=" in args[0]:
        raise CrishimError(
            Kind.INVALID, f"a command with '=' in its name cannot be given variables that are not UTF-8: {args[0]!r}"
        )
    entries = _pairs(env)
    again = {name: value for name, value in entries.items() if not name.isidentifier() or name in _SHELLS_OWN}
    values = {name: value.encode() for name, value in again.items()} | dict(raw)
    unset = [f"-u {name}" for name in _SHELLS_OWN if name not in values]
    script = " ".join(
        ["exec", LAUNCHER, "env", *unset, *(_quote(f"{n}=".encode() + v) for n, v in values.items()), '"$@"']
    )
    if len(script) > _LONGEST:
        raise CrishimError(Kind.INVALID, f"variables that are not UTF-8 are too long: {', '.join(sorted(raw))}")
    return [LAUNCHER, "sh", "-c", script, "sh", *args]


def launched(args: Sequence[str]) -> list[str]:
    """The prefix of a container's args that an exec in it needs too: the launcher and its variables, or nothing."""
    return list(args[:5]) if args[0] == LAUNCHER else []


def _launch_with(draft: Draft, launcher: str, raw: Mapping[str, bytes]) -> None:
    process = draft.spec["process"]
    if not launcher:
        name = next(iter(raw))
        raise CrishimError(
            Kind.PRECONDITION,
            f"the variable {name} is not UTF-8, and without a static busybox on the node it cannot be passed on",
            variable=name,
        )
    process["args"] = launch(process["args"], process["env"], raw)
    draft.spec["mounts"].append(
        {"destination": LAUNCHER, "type": "bind", "source": launcher, "options": ["bind", "rprivate", "ro", "nosuid"]}
    )


def _quote(data: bytes) -> str:
    """$'...' of ASCII, every other byte an octal escape (busybox ash and bash read it)."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,@% "
    return "$'" + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in data) + "'"


def _pairs(entries: Iterable[str]) -> dict[str, str]:
    """NAME=value entries as a mapping; an image's entry without "=" sets nothing."""
    split = (entry.partition("=") for entry in entries)
    return {name: value for name, equals, value in split if name and equals}


def _image_config(inputs: Inputs) -> Mapping[str, Any]:
    return inputs.image.get("config") or {}
