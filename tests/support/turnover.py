"""Pods made and removed one after the other, and what the daemon holds between them: what grows is a leak."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon
from tests.support.daemon_load import descriptors
from tests.support.pods import container_config, pod_config, remove_pod, run_pod, start


@dataclass(frozen=True)
class Held:
    """What a daemon holds after so many pods. pss, anonymous: kB (proc_pid_smaps(5)).

    anonymous: its own memory; the share of files in pss changes with who else has mapped them.
    """

    pods: int
    pss: int
    anonymous: int
    descriptors: int
    threads: int


def pss(pid: int, kind: str = "Pss") -> int:
    """Proportional set size of a process in kB, of all or of a kind ("Pss_Anon"); 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/smaps_rollup").read_text().split(f"\n{kind}:")[1].split()[0])
    except OSError:
        return 0


def held(daemon: Daemon, pods: int) -> Held:
    assert daemon.process is not None
    pid = daemon.process.pid
    threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    return Held(pods, pss(pid), pss(pid, "Pss_Anon"), descriptors(daemon), threads)


def live(daemon: Daemon, number: int, *, bridge: bool) -> None:
    """A pod's whole life, with one container; on the host's network, or on the bridge with a host port."""
    config = pod_config(f"turn{number}")
    if bridge:
        config.port_mappings.add(container_port=80, host_port=20000 + number % 10000)
    else:
        config.linux.security_context.namespace_options.network = cri.NODE
    pod = run_pod(daemon, config)
    container = start(daemon, pod, container_config(command=["sleep", "1000000"]))
    daemon.call("ContainerStatus", container_id=container, verbose=True)
    daemon.call("PodSandboxStatus", pod_sandbox_id=pod, verbose=True)
    daemon.call("StopContainer", container_id=container, timeout=0)
    daemon.call("RemoveContainer", container_id=container)
    remove_pod(daemon, pod)


def turn_over(daemon: Daemon, total: int, each: int, clients: int, *, bridges: int) -> Iterator[Held]:
    """What is held after each `each` pods, up to total. bridges: every so many-th pod is on the bridge."""
    with ThreadPoolExecutor(clients) as pool:
        for first in range(0, total, each):
            numbers = range(first, min(first + each, total))
            for done in [pool.submit(partial(live, daemon, n, bridge=n % bridges == 0)) for n in numbers]:
                done.result()
            daemon.call("ListPodSandboxStats")
            daemon.call("ListPodSandboxMetrics")
            yield held(daemon, numbers.stop)
