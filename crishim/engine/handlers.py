"""Map a pod's runtime_handler (RuntimeClass.handler) to its OCI runtime.

A handler may be removed from the settings while it has containers. Only the runtime that created them can delete them,
so a symbolic link to its program, named like the handler, is kept as long as it has any.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from crishim.engine.runtime import Runtime
from crishim.errors import CrishimError, Kind
from crishim.linux import directories, record_files


class Handlers:
    """The configured runtimes by name, "" for the default one, and the retired ones."""

    def __init__(
        self, runtimes: dict[str, Runtime], default: str, retired: Mapping[str, Runtime] | None = None
    ) -> None:
        """retired: no longer configured, for their existing containers."""
        self._runtimes = runtimes
        self._retired = retired or {}
        self.default = default

    def offered(self, name: str) -> Runtime:
        """The runtime for a new pod. Raises INVALID for an unknown handler, listing the configured ones."""
        runtime = self._runtimes.get(name or self.default)
        if runtime is None:
            known = ", ".join(sorted(self._runtimes))
            raise CrishimError(Kind.INVALID, f"runtime handler {name!r} is not configured; there are: {known}")
        return runtime

    def get(self, name: str) -> Runtime:
        """The runtime of an existing pod or container, which may be a retired one."""
        return self._retired.get(name) or self.offered(name)

    def all_offered(self) -> list[Runtime]:
        return list(self._runtimes.values())

    def __iter__(self) -> Iterator[Runtime]:
        return iter([*self._runtimes.values(), *self._retired.values()])


def remember(links: Path, programs: Mapping[str, str], states: Path) -> dict[str, str]:
    """Link the configured handlers' programs, and return those of the retired handlers. Both by handler. Blocks.

    links: directory of the links. states: directory of the runtimes' state directories, named like the handlers.
    """
    directories.own(links)
    for name, program in programs.items():
        link = links / name
        if not link.is_symlink() or str(link.readlink()) != program:
            record_files.remove(link)
            link.symlink_to(program)
    # Anything but a link is another version's, or damaged: it is ignored and left.
    retired = {link.name: link for link in links.iterdir() if link.name not in programs and link.is_symlink()}
    for name, link in list(retired.items()):
        if not any(p.is_dir() for p in (states / name).glob("*")):
            link.unlink()
            del retired[name]
    return {name: str(link.readlink()) for name, link in retired.items()}
