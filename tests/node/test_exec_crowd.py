"""More ExecSync calls than a container may have: they wait their turn or are told, and everybody else goes on."""

import concurrent.futures
from collections.abc import Callable
from functools import partial
from pathlib import Path

import grpc
import pytest

from crishim.engine.exec.limits import CONTAINER_QUEUE, CONTAINER_SLOTS
from crishim.pb import cri_pb2 as cri
from tests.support.daemon import METHODS, Daemon, eventually
from tests.support.daemon_load import Watch, descriptors
from tests.support.pods import container_config, execute, pod_config, remove_pod, run_pod, start

pytestmark = [pytest.mark.node, pytest.mark.timeout(120)]
Code = grpc.StatusCode
HANDLERS = pytest.mark.parametrize("handler", ["crun", "runc"])


def outcome(call: Callable[[], object]) -> grpc.RpcError | None:
    try:
        call()
    except grpc.RpcError as error:
        return error
    return None


def begin(daemon: Daemon, container: str) -> grpc.Future:
    """A command that never ends, until its client goes."""
    assert daemon._channel is not None
    call = daemon._channel.unary_unary(
        f"/{METHODS['ExecSync'][0]}/ExecSync", cri.ExecSyncRequest.SerializeToString, cri.ExecSyncResponse.FromString
    )
    return call.future(cri.ExecSyncRequest(container_id=container, cmd=["sleep", "600"]))


def runtimes(daemon: Daemon) -> int:
    """`exec` processes of OCI runtimes under way for this daemon."""
    mark = f"{daemon.run}/exec/".encode()
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += b"\0--process\0" in path.read_bytes() and mark in path.read_bytes()
        except OSError:
            continue
    return found


@HANDLERS
def test_a_crowd_waits_or_is_told(daemon: Daemon, handler: str) -> None:
    """Of commands that never end, so many run; the others are told whose turn did not come. A neighbour is answered."""
    pod = run_pod(daemon, pod_config(), handler)
    one, other = (start(daemon, pod, container_config(name)) for name in ("one", "other"))
    execute(daemon, one, "true")
    before = descriptors(daemon)
    with concurrent.futures.ThreadPoolExecutor(CONTAINER_SLOTS) as pool, Watch(daemon) as watch:
        endless = [begin(daemon, one) for _ in range(CONTAINER_SLOTS)]
        eventually(lambda: runtimes(daemon) == CONTAINER_SLOTS, f"{CONTAINER_SLOTS} commands run")
        late = [pool.submit(outcome, partial(execute, daemon, one, "true", timeout=1)) for _ in range(CONTAINER_SLOTS)]
        assert execute(daemon, other, "echo", "here") == (0, "here\n")
        told = [e for call in late if (e := call.result())]
        most = runtimes(daemon)
        for call in endless:
            call.cancel()
        eventually(lambda: runtimes(daemon) == 0, "the commands are gone", 60)
    assert [e.code() for e in told] == [Code.RESOURCE_EXHAUSTED] * CONTAINER_SLOTS
    assert all(f"container {one[:13]} runs {CONTAINER_SLOTS} commands already" in (e.details() or "") for e in told), (
        told
    )
    assert most == CONTAINER_SLOTS
    assert watch.slowest < 5
    eventually(lambda: descriptors(daemon) <= before, "the descriptors are back")
    assert execute(daemon, one, "echo", "again") == (0, "again\n")
    remove_pod(daemon, pod)


def test_short_commands_all_get_their_turn(daemon: Daemon) -> None:
    """Three times as many as may run at once: each runs, within its own timeout, in its turn."""
    pod = run_pod(daemon)
    container = start(daemon, pod)
    with concurrent.futures.ThreadPoolExecutor(3 * CONTAINER_SLOTS) as pool:
        found = pool.map(lambda n: execute(daemon, container, "echo", str(n), timeout=60), range(3 * CONTAINER_SLOTS))
        assert list(found) == [(0, f"{n}\n") for n in range(3 * CONTAINER_SLOTS)]
    remove_pod(daemon, pod)


def test_what_cannot_even_wait_is_refused_at_once(daemon: Daemon) -> None:
    """Calls without a timeout wait as long as their client does; beyond so many of them the answer comes at once."""
    pod = run_pod(daemon)
    container = start(daemon, pod)
    calls = [begin(daemon, container) for _ in range(CONTAINER_SLOTS + CONTAINER_QUEUE)]
    refused = outcome(lambda: execute(daemon, container, "true", timeout=60))
    assert refused is not None
    assert refused.code() == Code.RESOURCE_EXHAUSTED
    assert f"and {CONTAINER_QUEUE} wait" in (refused.details() or "")
    for call in calls:
        call.cancel()
    eventually(lambda: runtimes(daemon) == 0, "the commands of those who left are gone", 60)
    assert execute(daemon, container, "echo", "again") == (0, "again\n")
    remove_pod(daemon, pod)
