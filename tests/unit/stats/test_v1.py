"""What a v1 cgroup's files say."""

from crishim.stats import v1
from crishim.stats.measurements import HugePages, Io, Memory, Pressure, Stall, Usage
from tests.unit.stats.recorded import V1


def test_usage_counts_the_groups_below_too() -> None:
    """The total_ values count; the working set is usage less inactive file pages; swap's limit is what memsw adds."""
    assert v1.usage(V1, 42) == Usage(
        taken_at=42,
        cpu=15234987345,
        memory=Memory(
            usage=50331648,
            working_set=50331648 - 20971520,
            rss=16777216,
            page_faults=9000,
            major_page_faults=12,
            limit=67108864,
            swap=8388608,
            swap_limit=33554432,
        ),
        cpu_pressure=Pressure(some=Stall(1.0, 2.0, 3.0, 9000)),
    )


def test_unlimited_memory_has_no_swap_limit() -> None:
    """Without a limit on memory, one on both together says nothing about swap."""
    files = V1 | {"memory/memory.limit_in_bytes": b"9223372036854771712\n"}
    assert (v1.usage(files, 0).memory.limit, v1.usage(files, 0).memory.swap_limit) == (None, None)


def test_detail() -> None:
    """Everything the metrics add, in nanoseconds and bytes."""
    detail = v1.detail(V1, ("2MB", "1GB"))
    assert (detail.cpu_user, detail.cpu_system) == (11000000000, 4234987345)
    assert (detail.periods, detail.throttled_periods, detail.throttled) == (40, 10, 3000000001)
    assert (detail.cache, detail.kernel, detail.mapped_file) == (31457280, 2097152, 4194304)
    assert (detail.limit_hits, detail.peak, detail.oom_kills) == (5, 60000000, 3)
    assert (detail.own_page_faults, detail.own_major_page_faults) == (70, 7)
    assert (detail.threads, detail.threads_limit) == (4, None)
    assert detail.huge_pages == {"2MB": HugePages(2097152, 6291456)}
    assert Io(8, 0, "Read", 4096, 2) in detail.io


def test_io_of_bfq_where_the_throttler_saw_nothing() -> None:
    """The second source of block figures is used when the first is empty."""
    empty = dict.fromkeys((n for n in V1 if "throttle" in n), b"Total 0\n")
    bfq = {n.replace("throttle", "bfq"): V1[n] for n in empty}
    assert Io(8, 0, "Read", 4096, 2) in v1.detail(V1 | empty | bfq, ()).io


def test_the_files_are_asked_for() -> None:
    """Every recorded file is among those that are read."""
    assert set(V1) <= {*v1.USAGE, *v1.DETAIL, *v1.huge_page_files(("2MB",))}
