"""What a v2 cgroup's files say."""

from crishim.stats import v2
from crishim.stats.measurements import HugePages, Io, Memory, Pressure, Stall, Usage
from tests.unit.stats.recorded import V2


def test_usage() -> None:
    """Microseconds become nanoseconds; the working set is usage less inactive file pages; PSI of all three."""
    assert v2.usage(V2, 42) == Usage(
        taken_at=42,
        cpu=93215084000,
        memory=Memory(
            usage=182714368,
            working_set=182714368 - 83886080,
            rss=61931520,
            page_faults=812345,
            major_page_faults=321,
            limit=268435456,
            swap=1048576,
            swap_limit=67108864,
        ),
        cpu_pressure=Pressure(some=Stall(12.5, 3.1, 0.75, 48211903000), full=Stall(1.25, 0.31, 0.07, 4100222000)),
        memory_pressure=Pressure(some=Stall(total=1999000), full=Stall(total=1500000)),
        io_pressure=Pressure(some=Stall(0.1, 0.05, 0.01, 70001000), full=Stall(0.1, 0.04, 0.0, 65000000)),
    )


def test_the_working_set_is_never_negative() -> None:
    """usage and stat are read one after the other: the difference may be below zero."""
    assert v2.usage(V2 | {"unified/memory.current": b"4096\n"}, 0).memory.working_set == 0


def test_controllers_that_are_not_enabled() -> None:
    """A group with cpu.stat only (no memory controller) has used no memory, and has no limit."""
    usage = v2.usage({"unified/cpu.stat": V2["unified/cpu.stat"]}, 0)
    assert usage.cpu == 93215084000
    assert usage.memory == Memory()
    assert usage.cpu_pressure is None


def test_detail() -> None:
    """Everything the metrics add, in nanoseconds and bytes."""
    detail = v2.detail(V2, ("1GB", "2MB"))
    assert (detail.cpu_user, detail.cpu_system) == (61100231000, 32114853000)
    assert (detail.periods, detail.throttled_periods, detail.throttled) == (1742, 309, 15724019000)
    assert (detail.cache, detail.kernel, detail.mapped_file) == (104857600, 12582912, 20971520)
    assert (detail.limit_hits, detail.peak, detail.oom_kills) == (17, 240123904, 1)
    assert (detail.own_page_faults, detail.own_major_page_faults) == (812345, 321)
    assert (detail.threads, detail.threads_limit) == (23, 4096)
    assert detail.huge_pages == {"1GB": HugePages(0, None), "2MB": HugePages(4194304, None)}
    assert Io(8, 0, "Read", 4096000, 1000) in detail.io


def test_without_a_recorded_peak_it_is_the_usage_of_now() -> None:
    """memory.peak came with Linux 5.19."""
    files = {name: text for name, text in V2.items() if not name.endswith("peak")}
    assert v2.detail(files, ()).peak == 182714368


def test_the_files_are_asked_for() -> None:
    """Every recorded file is among those that are read."""
    assert set(V2) <= {*v2.USAGE, *v2.DETAIL, *v2.huge_page_files(("2MB", "1GB"))}
