"""Which OCI runtime a pod's runtime_handler means (RuntimeClass.handler)."""

from collections.abc import Iterator

from crishim.engine.runtime import Runtime
from crishim.errors import CrishimError, Kind


class Handlers:
    """The configured runtimes by name; "" is the default one."""

    def __init__(self, runtimes: dict[str, Runtime], default: str) -> None:
        self._runtimes = runtimes
        self.default = default

    def get(self, name: str) -> Runtime:
        """The runtime of a handler. INVALID names an unknown one and those there are."""
        runtime = self._runtimes.get(name or self.default)
        if runtime is None:
            known = ", ".join(sorted(self._runtimes))
            raise CrishimError(Kind.INVALID, f"runtime handler {name!r} is not configured; there are: {known}")
        return runtime

    def __iter__(self) -> Iterator[Runtime]:
        return iter(self._runtimes.values())
