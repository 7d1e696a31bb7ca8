"""hack/bench leak [PODS]: pods made and removed by four clients, each tenth on the bridge; what the daemon holds then.

Flat is flat after the first tenth, when pools of threads and memory have their size. The exit status is 1 if not.
"""

import argparse
import statistics
import sys
import time

from hack.benchmark.ground import as_installed, load_busybox
from tests.support.daemon import assert_clean, scratch_daemon
from tests.support.isolation import isolate
from tests.support.turnover import Held, turn_over

ALLOWED = 0.5  # kB of PSS a pod: below that it is the allocator's noise


def slope(found: list[Held]) -> float:
    """kB of PSS a pod, by Theil and Sen: the median of the slopes between all pairs."""
    pairs = [(a, b) for i, a in enumerate(found) for b in found[i + 1 :]]
    return statistics.median((b.pss - a.pss) / (b.pods - a.pods) for a, b in pairs)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="hack/bench leak", description=__doc__)
    parser.add_argument("pods", nargs="?", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=4)
    known = parser.parse_args(arguments)
    isolate()
    as_installed()
    began, found = time.monotonic(), list[Held]()
    with scratch_daemon(log={"level": "info", "format": "json"}) as daemon:
        load_busybox(daemon)
        before = daemon.left()
        print("    pods   PSS kB  descriptors  threads")
        for one in turn_over(daemon, known.pods, max(known.pods // 20, 1), known.clients, bridges=10):
            found.append(one)
            print(f"{one.pods:8} {one.pss:8} {one.descriptors:12} {one.threads:8}", flush=True)
        assert_clean(daemon, before, 30)
    settled = found[len(found) // 10 :]
    each = slope(settled)
    more = settled[-1].descriptors - min(one.descriptors for one in settled)
    print(
        f"{time.monotonic() - began:.0f} s; a pod leaves {each:.2f} kB of PSS and {more / known.pods:.4f} descriptors"
    )
    return int(each > ALLOWED or more > 4)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
