"""Values measured of a cgroup or an interface, the same for all kernel interfaces.

Times are nanoseconds: `taken_at` since the epoch, all others durations. Sizes are bytes.
"""

from collections.abc import Mapping

import msgspec


class Stall(msgspec.Struct, frozen=True):
    """One line of a pressure file: shares of time in percent, and the time lost since the group was made."""

    avg10: float = 0.0
    avg60: float = 0.0
    avg300: float = 0.0
    total: int = 0


class Pressure(msgspec.Struct, frozen=True):
    """How long some, and how long all, of a group's tasks waited for a resource (PSI, kernel accounting/psi.rst)."""

    some: Stall = Stall()
    full: Stall = Stall()


class Memory(msgspec.Struct, frozen=True):
    usage: int = 0
    working_set: int = 0  # usage less inactive file pages
    rss: int = 0  # anonymous memory
    page_faults: int = 0
    major_page_faults: int = 0
    limit: int | None = None  # None: unlimited
    swap: int = 0
    swap_limit: int | None = None  # of swap alone


class Usage(msgspec.Struct, frozen=True):
    """What a group and all groups below it use."""

    taken_at: int
    cpu: int = 0  # time consumed
    memory: Memory = Memory()
    cpu_pressure: Pressure | None = None  # None: the kernel does not count it for this group
    memory_pressure: Pressure | None = None
    io_pressure: Pressure | None = None


class Io(msgspec.Struct, frozen=True):
    """Transfers of one kind ("Read", "Write", "Discard") on one block device."""

    major: int
    minor: int
    operation: str
    bytes: int = 0
    count: int = 0


class HugePages(msgspec.Struct, frozen=True):
    usage: int
    peak: int | None  # None: not counted (cgroup v2)


class Detail(msgspec.Struct, frozen=True):
    """What only the metrics show."""

    cpu_user: int = 0
    cpu_system: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled: int = 0
    cache: int = 0
    kernel: int = 0
    mapped_file: int = 0
    limit_hits: int = 0
    peak: int = 0
    own_page_faults: int = 0  # of the group without those below it, where the kernel counts them
    own_major_page_faults: int = 0
    oom_kills: int = 0
    threads: int = 0
    threads_limit: int | None = None
    io: tuple[Io, ...] = ()
    huge_pages: Mapping[str, HugePages] = {}  # by page size: "2MB"


class Interface(msgspec.Struct, frozen=True):
    """Counters of a network interface since it was made (proc_pid_net(5), dev)."""

    name: str
    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0
