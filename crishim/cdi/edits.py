"""Resolves CDI device names to edits of an OCI spec, from the specification directories."""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from crishim.cdi import format as cdi
from crishim.cdi.apply import apply
from crishim.cdi.format import Edits, names
from crishim.errors import CrishimError, Kind
from crishim.linux import files

__all__ = ["Edits", "Registry", "apply", "names"]

log = logging.getLogger("crishim.cdi")
SUFFIXES = (".json", ".yaml")  # those of the reference implementation; .yml is not one of them
MAX_FILE = 16 << 20  # bytes
SETTLED = 2_000_000_000  # ns: a file changed more recently may change again within one tick of its file system's clock


class _File(NamedTuple):
    """A file as it was read. spec: None if it is not valid; why: the reason."""

    path: Path
    stamp: tuple[int, ...]
    settled: bool
    spec: cdi.CdiSpec | None = None
    why: str = ""
    claims: tuple[str, ...] = ()  # devices it defines, or would if it were valid


class Registry:
    """The devices of the specification directories; a later directory overrides an earlier one."""

    def __init__(self, directories: Sequence[Path]) -> None:
        """directories: missing ones are skipped; they may be made later."""
        self._directories = list(directories)
        self._files: dict[Path, _File] = {}

    def look_in(self, directories: Sequence[Path]) -> None:
        """Replace the directories."""
        self._directories = list(directories)

    def resolve(self, devices: Sequence[str]) -> Edits:
        """Edits for these qualified names, directories read anew (unchanged files from memory). Blocks.

        A file's own edits come once, before those of the first of its devices. Raises NOT_FOUND for a name no file
        defines, PRECONDITION for one that only invalid files define (naming file and reason), or that two files of
        equal priority define (naming both).
        """
        layers = [list(self._read(directory)) for directory in self._directories]
        self._files = {file.path: file for layer in layers for file in layer}
        edits, seen = Edits(), set()
        for name in devices:
            file, device = self._find(name, layers)
            assert file.spec is not None
            if file.path not in seen:
                seen.add(file.path)
                edits = cdi.merge(edits, file.spec.container_edits, file.spec.kind)
            edits = cdi.merge(edits, device.container_edits, name)
        return edits

    def _find(self, name: str, layers: Sequence[Sequence[_File]]) -> tuple[_File, cdi.Device]:
        unqualified = name.partition("=")[2]
        for layer in reversed(layers):
            owners = [f for f in layer if f.spec is not None and name in f.claims]
            if len(owners) > 1:
                raise CrishimError(
                    Kind.PRECONDITION,
                    f"CDI device {name} is defined twice: in {owners[0].path} and in {owners[1].path}",
                    device=name,
                )
            for file in owners:
                assert file.spec is not None
                return file, next(d for d in file.spec.devices if d.name == unqualified)
        broken = [f for layer in reversed(layers) for f in layer if f.spec is None]
        for file in broken:
            if name in file.claims:
                raise CrishimError(
                    Kind.PRECONDITION, f"CDI device {name} is not usable: {file.path} {file.why}", device=name
                )
        places = ", ".join(str(d) for d in self._directories)
        unread = next((f"; {f.path} {f.why}" for f in broken if not f.claims), "")
        raise CrishimError(Kind.NOT_FOUND, f"no CDI file in {places} defines device {name}{unread}", device=name)

    def _read(self, directory: Path) -> Iterator[_File]:
        try:
            entries = sorted(directory.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            log.warning("a CDI directory cannot be read", extra={"path": str(directory), "error": error.strerror})
            return
        for path in entries:
            if path.suffix in SUFFIXES and (file := self._load(path)) is not None:
                yield file

    def _load(self, path: Path) -> _File | None:
        """The file at path, from memory if it cannot have changed; None if it went away or is a directory."""
        try:
            with os.fdopen(files.open_regular(path), "rb") as stream:
                found = os.fstat(stream.fileno())
                stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                known = self._files.get(path)
                if known is not None and known.settled and known.stamp == stamp:
                    return known
                settled = time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > SETTLED
                data = stream.read(MAX_FILE + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            if path.is_dir():
                return None
            return self._broken(_File(path, (), False, why=f"cannot be read: {error.strerror}"))
        return self._parse(_File(path, stamp, settled), data)

    def _parse(self, file: _File, data: bytes) -> _File:
        claims: tuple[str, ...] = ()
        try:
            if len(data) > MAX_FILE:
                raise cdi.InvalidSpec(f"is larger than {MAX_FILE >> 20} MiB")
            raw = cdi.load_json(data) if file.path.suffix == ".json" else _load_yaml(data)
            claims = tuple(cdi.device_names(raw))
            return file._replace(spec=cdi.parse(raw), claims=claims)
        except cdi.InvalidSpec as error:
            return self._broken(file._replace(why=str(error), claims=claims))

    def _broken(self, file: _File) -> _File:
        before = self._files.get(file.path)
        if before is None or before.why != file.why:
            log.warning("a CDI file is skipped", extra={"path": str(file.path), "why": file.why})
        return file


def _load_yaml(data: bytes) -> object:
    import yaml  # 5 MB, and most nodes have JSON files only

    try:
        return yaml.load(data, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        # the last five: values that are not what their tag says (!!bool maybe, 2026-02-30)
        raise cdi.InvalidSpec(f"is not YAML: {' '.join(str(error).split())}") from None
