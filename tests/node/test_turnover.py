"""Pods made and removed, one after the other: what the daemon holds does not follow their number.

The long form is `hack/bench leak` (2,000 pods, docs/performance.md).
"""

from tests.support.daemon import Daemon, eventually
from tests.support.daemon_load import descriptors
from tests.support.turnover import turn_over

SETTLED, MORE = 8, 32
ALLOWED = 4096  # kB: threads and allocator take 1 to 2 MB while pools fill; 32 leaked records of 128 kB would not fit


def test_forty_pods_leave_no_descriptor_no_file_and_no_memory_of_their_own(daemon: Daemon) -> None:
    first, *_, last = turn_over(daemon, SETTLED + MORE, SETTLED, 4, bridges=8)
    assert first.pods == SETTLED
    eventually(lambda: descriptors(daemon) <= first.descriptors + 2, "its descriptors are those of the first pods")
    assert last.anonymous - first.anonymous < ALLOWED
