"""cgroup v2: which files are read, and their meaning (kernel admin-guide/cgroup-v2.rst)."""

from collections.abc import Mapping

from crishim.stats import parse
from crishim.stats.measurements import Detail, HugePages, Memory, Usage

USAGE = (
    "unified/cpu.stat",
    "unified/memory.current",
    "unified/memory.max",
    "unified/memory.stat",
    "unified/memory.swap.current",
    "unified/memory.swap.max",
    "unified/cpu.pressure",
    "unified/memory.pressure",
    "unified/io.pressure",
)
DETAIL = (
    "unified/cpu.stat",
    "unified/memory.stat",
    "unified/memory.current",
    "unified/memory.peak",
    "unified/memory.events",
    "unified/io.stat",
    "unified/pids.current",
    "unified/pids.max",
)
_USEC = 1000
Files = Mapping[str, bytes]


def usage(files: Files, taken_at: int) -> Usage:
    """Usage from a group's files; what is missing (a controller that is not enabled) is zero."""
    stat = parse.keys(files.get("unified/memory.stat", b""))
    used = parse.number(files.get("unified/memory.current"))
    memory = Memory(
        usage=used,
        working_set=max(used - stat.get(b"inactive_file", 0), 0),
        rss=stat.get(b"anon", 0),
        page_faults=stat.get(b"pgfault", 0),
        major_page_faults=stat.get(b"pgmajfault", 0),
        limit=parse.limit(files.get("unified/memory.max")),
        swap=parse.number(files.get("unified/memory.swap.current")),
        swap_limit=parse.limit(files.get("unified/memory.swap.max")),
    )
    return Usage(
        taken_at=taken_at,
        cpu=parse.keys(files.get("unified/cpu.stat", b"")).get(b"usage_usec", 0) * _USEC,
        memory=memory,
        cpu_pressure=parse.pressure(files.get("unified/cpu.pressure")),
        memory_pressure=parse.pressure(files.get("unified/memory.pressure")),
        io_pressure=parse.pressure(files.get("unified/io.pressure")),
    )


def huge_page_files(sizes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"unified/hugetlb.{size}.current" for size in sizes)


def detail(files: Files, sizes: tuple[str, ...]) -> Detail:
    """Detail from the files of DETAIL and huge_page_files(sizes). Before Linux 5.19 (memory.peak) peak is the usage."""
    stat = parse.keys(files.get("unified/memory.stat", b""))
    cpu = parse.keys(files.get("unified/cpu.stat", b""))
    events = parse.keys(files.get("unified/memory.events", b""))
    return Detail(
        cpu_user=cpu.get(b"user_usec", 0) * _USEC,
        cpu_system=cpu.get(b"system_usec", 0) * _USEC,
        periods=cpu.get(b"nr_periods", 0),
        throttled_periods=cpu.get(b"nr_throttled", 0),
        throttled=cpu.get(b"throttled_usec", 0) * _USEC,
        cache=stat.get(b"file", 0),
        kernel=stat.get(b"kernel", 0),
        mapped_file=stat.get(b"file_mapped", 0),
        limit_hits=events.get(b"max", 0),
        peak=parse.number(files.get("unified/memory.peak") or files.get("unified/memory.current")),
        own_page_faults=stat.get(b"pgfault", 0),
        own_major_page_faults=stat.get(b"pgmajfault", 0),
        oom_kills=events.get(b"oom_kill", 0),
        threads=parse.number(files.get("unified/pids.current")),
        threads_limit=parse.limit(files.get("unified/pids.max")),
        io=tuple(parse.io_stat(files.get("unified/io.stat", b""))),
        huge_pages={
            size: HugePages(parse.number(files[name]), None)
            for size in sizes
            if (name := f"unified/hugetlb.{size}.current") in files
        },
    )
