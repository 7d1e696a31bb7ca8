"""Things that never answer: a node with one of them goes on, and what hung can be taken away once the cause is gone.

While the thing hangs, Status answers within STATUS seconds and another pod lives its whole life; afterwards the pod
that hung is removed, and the node is as it was.
"""

import contextlib
import threading
import time
from collections.abc import Callable

import grpc

from hack.campaigns.causes import Cause, causes
from hack.campaigns.client import Client
from hack.campaigns.ground import a_node, scratch
from hack.campaigns.load import Pod
from hack.campaigns.nri_causes import StoppedNriPlugin
from hack.campaigns.table import Row
from hack.campaigns.watch import Watch
from tests.support.daemon import Daemon
from tests.support.residue import left_behind, named

STATUS = 1.0  # seconds
PATIENCE = 90.0  # seconds until a call that hung must have ended after its cause is gone


def campaign(hold: float, only: str = "") -> list[Row]:
    """A row for each cause. hold: seconds it lasts: longer than the daemon's own limits, or the other pods' lives."""
    rows = []
    kinds: list[type[Cause]] = [*causes(), StoppedNriPlugin]
    for kind in kinds:
        if not kind.title.startswith(only):
            continue
        with scratch() as directory:
            cause = kind(directory)
            with a_node(None, cause.kind, **cause.settings()) as daemon:
                row = Row("hung", cause.title, runs=1)
                with contextlib.ExitStack() as stack:
                    stack.callback(cause.release)
                    _try(daemon, cause, row, hold)
        rows.append(row)
        print(f"hung: {row.part}: {row.says}, lost {len(row.lost)}, left {len(row.left)}", flush=True)
    return rows


def _try(daemon: Daemon, cause: Cause, row: Row, hold: float) -> None:
    cause.prepare(daemon)
    before = daemon.left()
    ended: list[str] = []
    with Watch(daemon) as watch:
        hung = threading.Thread(target=_call, args=(lambda: cause.hang(daemon), ended), daemon=True)
        started = time.monotonic()
        hung.start()
        row.lost += _held(lambda: cause.wait_hung(daemon), "it did not come to hang")
        for _ in range(2):
            row.lost += _held(lambda: _another_pod(daemon, cause), "another pod")
        apart = time.monotonic() - started
        time.sleep(max(0.0, hold - apart))
        cause.release()
        hung.join(PATIENCE)
        if hung.is_alive():
            row.lost.append(f"the call that hung has not ended {PATIENCE:g} s after its cause was gone")
    if not watch.answers or watch.slowest > STATUS:
        row.lost.append(f"Status took {watch.slowest:.1f} s")
    row.lost += _held(lambda: cause.remove(daemon), "it cannot be taken away")
    row.left += named(left_behind(daemon.left, before, 15))
    row.says = (
        f"Status {watch.slowest * 1000:.0f} ms at most, two other pods in {apart:.1f} s; "
        f"the call: {ended[0] if ended else 'none'}"
    )


def _call(work: Callable[[], None], ended: list[str]) -> None:
    try:
        work()
        ended.append("done")
    except grpc.RpcError as error:
        ended.append(error.code().name)


def _held(work: Callable[[], object], what: str) -> list[str]:
    try:
        work()
    except grpc.RpcError as error:
        return [f"{what}: {error.code().name}: {error.details()}"]
    except AssertionError as error:
        return [f"{what}: {' '.join(str(error).split())[:300]}"]
    return []


def _another_pod(daemon: Daemon, cause: Cause) -> None:
    """A pod that has nothing to do with what hangs, from its start to its end."""
    client = Client(daemon)
    pod = Pod(client, f"other-{time.monotonic_ns()}", "crun", None)
    try:
        cause.others(pod)
        assert not (what := pod.remove()), what
    finally:
        client.close()
