"""cgroup v1: which files are read, and their meaning (kernel admin-guide/cgroup-v1).

A file is given as CONTROLLER/NAME. PSI is v2's, but a hybrid host has a v2 hierarchy without controllers beside the v1
ones: if the runtime has put the container there too, its pressure files are read.
"""

from collections.abc import Mapping

from crishim.stats import parse
from crishim.stats.measurements import Detail, HugePages, Memory, Usage

USAGE = (
    "cpuacct/cpuacct.usage",
    "memory/memory.usage_in_bytes",
    "memory/memory.limit_in_bytes",
    "memory/memory.memsw.limit_in_bytes",
    "memory/memory.stat",
    "unified/cpu.pressure",
    "unified/memory.pressure",
    "unified/io.pressure",
)
_IO = (
    ("blkio/blkio.throttle.io_service_bytes_recursive", "blkio/blkio.throttle.io_serviced_recursive"),
    ("blkio/blkio.bfq.io_service_bytes_recursive", "blkio/blkio.bfq.io_serviced_recursive"),
)
DETAIL = (
    "cpuacct/cpuacct.usage_user",
    "cpuacct/cpuacct.usage_sys",
    "cpu/cpu.stat",
    "memory/memory.stat",
    "memory/memory.failcnt",
    "memory/memory.max_usage_in_bytes",
    "memory/memory.kmem.usage_in_bytes",
    "memory/memory.oom_control",
    "pids/pids.current",
    "pids/pids.max",
    *(name for pair in _IO for name in pair),
)
Files = Mapping[str, bytes]


def usage(files: Files, taken_at: int) -> Usage:
    """Usage from a group's files; what is missing is zero."""
    stat = parse.keys(files.get("memory/memory.stat", b""))
    used = parse.number(files.get("memory/memory.usage_in_bytes"))
    memory_limit = parse.limit(files.get("memory/memory.limit_in_bytes"))
    both_limit = parse.limit(files.get("memory/memory.memsw.limit_in_bytes"))
    memory = Memory(
        usage=used,
        working_set=max(used - stat.get(b"total_inactive_file", 0), 0),
        rss=stat.get(b"total_rss", 0),
        page_faults=stat.get(b"total_pgfault", 0),
        major_page_faults=stat.get(b"total_pgmajfault", 0),
        limit=memory_limit,
        swap=stat.get(b"total_swap", 0),
        swap_limit=None if both_limit is None or memory_limit is None else max(both_limit - memory_limit, 0),
    )
    return Usage(
        taken_at=taken_at,
        cpu=parse.number(files.get("cpuacct/cpuacct.usage")),
        memory=memory,
        cpu_pressure=parse.pressure(files.get("unified/cpu.pressure")),
        memory_pressure=parse.pressure(files.get("unified/memory.pressure")),
        io_pressure=parse.pressure(files.get("unified/io.pressure")),
    )


def huge_page_files(sizes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"hugetlb/hugetlb.{s}.{what}usage_in_bytes" for s in sizes for what in ("", "max_"))


def detail(files: Files, sizes: tuple[str, ...]) -> Detail:
    """Detail from the files of DETAIL and huge_page_files(sizes)."""
    stat = parse.keys(files.get("memory/memory.stat", b""))
    cpu = parse.keys(files.get("cpu/cpu.stat", b""))
    io = next((found for pair in _IO if (found := parse.blkio(*(files.get(name, b"") for name in pair)))), [])
    return Detail(
        cpu_user=parse.number(files.get("cpuacct/cpuacct.usage_user")),
        cpu_system=parse.number(files.get("cpuacct/cpuacct.usage_sys")),
        periods=cpu.get(b"nr_periods", 0),
        throttled_periods=cpu.get(b"nr_throttled", 0),
        throttled=cpu.get(b"throttled_time", 0),
        cache=stat.get(b"total_cache", 0),
        kernel=parse.number(files.get("memory/memory.kmem.usage_in_bytes")),
        mapped_file=stat.get(b"total_mapped_file", 0),
        limit_hits=parse.number(files.get("memory/memory.failcnt")),
        peak=parse.number(files.get("memory/memory.max_usage_in_bytes")),
        own_page_faults=stat.get(b"pgfault", 0),
        own_major_page_faults=stat.get(b"pgmajfault", 0),
        oom_kills=parse.keys(files.get("memory/memory.oom_control", b"")).get(b"oom_kill", 0),
        threads=parse.number(files.get("pids/pids.current")),
        threads_limit=parse.limit(files.get("pids/pids.max")),
        io=tuple(io),
        huge_pages={
            size: HugePages(
                parse.number(files[f"hugetlb/hugetlb.{size}.usage_in_bytes"]),
                parse.number(files.get(f"hugetlb/hugetlb.{size}.max_usage_in_bytes")),
            )
            for size in sizes
            if f"hugetlb/hugetlb.{size}.usage_in_bytes" in files
        },
    )
