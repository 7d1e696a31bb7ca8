"""Which OCI runtime a pod's runtime_handler means (RuntimeClass.handler).

A handler may be taken out of the settings while it has containers. Only the runtime that made them can end them, so
which program that was is kept, as a symbolic link called as the handler, for as long as it has any.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from crishim.engine.runtime import Runtime
from crishim.errors import CrishimError, Kind
from crishim.linux import directories, record_files


class Handlers:
    """The configured runtimes by name, "" being the default one, and the retired ones."""

    def __init__(
        self, runtimes: dict[str, Runtime], default: str, retired: Mapping[str, Runtime] | None = None
    ) -> None:
        """retired: no longer configured, for what they made."""
        self._runtimes = runtimes
        self._retired = retired or {}
        self.default = default

    def offered(self, name: str) -> Runtime:
        """The runtime for a new pod. INVALID names an unknown handler and those there are."""
        runtime = self._runtimes.get(name or self.default)
        if runtime is None:
            known = ", ".join(sorted(self._runtimes))
            raise CrishimError(Kind.INVALID, f"runtime handler {name!r} is not configured; there are: {known}")
        return runtime

    def get(self, name: str) -> Runtime:
        """The runtime of what is there already, which may be a retired one."""
        return self._retired.get(name) or self.offered(name)

    def all_offered(self) -> list[Runtime]:
        return list(self._runtimes.values())

    def __iter__(self) -> Iterator[Runtime]:
        return iter([*self._runtimes.values(), *self._retired.values()])


def remember(links: Path, programs: Mapping[str, str], states: Path) -> dict[str, str]:
    """Note which programs the configured handlers are; the programs of the retired ones. Both by handler. Blocks.

    links: directory of the notes. states: directory of the runtimes' state directories, each called as its handler.
    """
    directories.own(links)
    for name, program in programs.items():
        link = links / name
        if not link.is_symlink() or str(link.readlink()) != program:
            record_files.remove(link)
            link.symlink_to(program)
    # What is no link is another version's, or damage: it says nothing here, and stays.
    retired = {link.name: link for link in links.iterdir() if link.name not in programs and link.is_symlink()}
    for name, link in list(retired.items()):
        if not any(p.is_dir() for p in (states / name).glob("*")):
            link.unlink()
            del retired[name]
    return {name: str(link.readlink()) for name, link in retired.items()}
