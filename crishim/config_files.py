"""Read settings from a TOML file and its drop-ins, as config.toml and config.d/*.toml.

Drop-ins are read after the file, sorted by name. Tables are merged, and a later file's keys win; a list or any other
value replaces the earlier one.
"""

import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from crishim.config import Config, ConfigError, convert

DEFAULT_PATH = Path("/etc/crishim/config.toml")
_KEY = re.compile(r"[\w.]+")


class ConfigFile(NamedTuple):
    """One file and its content."""

    path: Path
    settings: dict[str, Any]


def load(path: Path | None) -> Config:
    """Settings from a file and its drop-ins; with None from the default place, or the defaults if nothing is there.

    Raises ConfigError, which names the files concerned.
    """
    return settings_of(sources(path))


def sources(path: Path | None) -> list[ConfigFile]:
    """The files that settings come from, in the order they are read. Raises ConfigError for one that cannot be."""
    main = path or DEFAULT_PATH
    existing = [main] if path is not None or main.exists() else []
    return [_read(each) for each in (*existing, *drop_ins(main))]


def drop_ins(main: Path) -> list[Path]:
    """The drop-ins of a file, by name: *.toml in the directory of the file's name with .d for its suffix."""
    directory = main.with_suffix(".d")
    try:
        found = [each for each in directory.iterdir() if each.suffix == ".toml" and not each.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigError(f"cannot read {directory}: {error.strerror}") from None
    return sorted(found, key=lambda each: each.name)


def settings_of(files: list[ConfigFile]) -> Config:
    """The settings of several files, merged in their order. Raises ConfigError."""
    merged: dict[str, Any] = {}
    for path, settings in files:
        try:
            merged = _merge(merged, settings)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    try:
        return convert(merged)
    except ConfigError as error:
        names = ", ".join(str(each) for each in _concerned(files, str(error)))
        raise ConfigError(f"{names}: {error}" if names else str(error)) from None


def origin(files: list[ConfigFile], key: tuple[str, ...]) -> list[Path]:
    """The files that a setting's value comes from: the last that sets it; for a table, all that set a key of it."""
    having = [(each.path, found) for each in files if (found := _at(each.settings, key)) is not None]
    if having and all(isinstance(found, dict) for _, found in having):
        return [path for path, _ in having]
    return [path for path, _ in having[-1:]]


def _read(path: Path) -> ConfigFile:
    try:
        return ConfigFile(path, tomllib.loads(path.read_text()))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"cannot read {path}: {reason}") from None


def _merge(below: dict[str, Any], above: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        before = merged.get(name)
        if before is not None and isinstance(before, dict) != isinstance(value, dict):
            raise ConfigError(f"{prefix}{name}: a table in one file and none in another")
        merged[name] = _merge(before, value, f"{prefix}{name}.") if isinstance(before, dict) else value
    return merged


def _concerned(files: list[ConfigFile], problem: str) -> list[Path]:
    """The files that set the key a problem begins with, or else its table; all files if it names no key."""
    matched = _KEY.match(problem)
    names = tuple(matched.group().rstrip(".").split(".")) if matched else ()
    for length in range(len(names), 0, -1):
        if found := origin(files, names[:length]):
            return found
    return [each.path for each in files]


def _at(settings: dict[str, Any], key: tuple[str, ...]) -> Any:
    found: Any = settings
    for name in key:
        found = found.get(name) if isinstance(found, dict) else None
    return found
