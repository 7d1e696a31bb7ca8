"""In place of threads in network namespaces: work is done at once, on made-up ends."""

from collections.abc import Callable
from typing import Any


class Threads:
    """Stands for NetnsExecutor. paths: of each thread that had work; open: how many live; fails: their error."""

    def __init__(self, *ends: Any) -> None:
        """ends: the host's, the pod's, ...; a thread has as many as it has paths."""
        self.ends = ends
        self.paths: list[tuple[str, ...]] = []
        self.work: list[str] = []  # its name, of each
        self.open = 0
        self.fails: Exception | None = None

    def __call__(self, paths: tuple[Any, ...], *_: object) -> "Executor":
        return Executor(self, tuple(map(str, paths)))


class Executor:
    def __init__(self, threads: Threads, paths: tuple[str, ...]) -> None:
        self._threads, self._paths = threads, paths
        self._started = False

    async def run(self, work: Callable[..., Any], *, last: bool = False) -> Any:
        threads = self._threads
        if not self._started:
            self._started = True
            threads.paths.append(self._paths)
            threads.open += 1
        try:
            if threads.fails is not None:
                raise threads.fails
            threads.work.append(getattr(work, "func", work).__name__)
            return work(*threads.ends[: len(self._paths)])
        finally:
            if last:
                await self.close()

    async def close(self) -> None:
        self._threads.open -= self._started
        self._started = False
