"""Interface counters of pods' network namespaces, read from /proc in a throw-away thread that joins one after another.

Not from /proc of the pods' processes: a pod may have none.
"""

import os
from collections.abc import Mapping

from crishim.linux import libc, namespaces
from crishim.stats import parse
from crishim.stats.cgroups import read_all
from crishim.stats.measurements import Interface


def counters(handles: Mapping[str, str]) -> dict[str, list[Interface]]:
    """Interfaces but lo, by the key of each namespace handle; a handle that cannot be joined is left out. Blocks."""
    if not handles:
        return {}

    def visit() -> dict[str, list[Interface]]:
        found = {}
        for key, path in handles.items():
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                libc.setns(fd, namespaces.CLONE_NEWNET)
                found[key] = parse.interfaces(read_all("/proc/thread-self/net/dev"))
            except OSError:
                continue
            finally:
                os.close(fd)
        return found

    return namespaces.in_thread(visit)
