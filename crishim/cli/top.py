"""`crishim top`: resource usage of pods and containers, the busiest first; repeated every few seconds until Ctrl-C."""

import sys
import time
from collections.abc import Iterator

from crishim.cli.client import fail, print_json, print_rows, size
from crishim.cli.cri_client import CriClient, connect_cri
from crishim.config import Config
from crishim.errors import CrishimError
from crishim.pb import cri_pb2 as cri

HEADS = ("POD", "CONTAINER", "ID", "CPU", "MEMORY", "LIMIT", "PROCESSES", "RECEIVED", "SENT")
CLEAR = "\x1b[H\x1b[2J"  # cursor home, clear the screen: console_codes(4)


def show(config: Config, *, interval: float, once: bool, as_json: bool) -> int:
    """Print the table every interval seconds; once with `once`, as JSON, or if stdout is no terminal."""
    once = once or as_json or not sys.stdout.isatty()
    try:
        with connect_cri(config) as client:
            while True:
                pods = _stats(client)
                if as_json:
                    return print_json(fact for pod in pods for fact in _facts(pod))
                if not once:
                    sys.stdout.write(CLEAR)
                print_rows([HEADS, *(row for pod in pods for row in _rows(pod))])
                if once:
                    return 0
                sys.stdout.flush()
                time.sleep(interval)
    except CrishimError as error:
        return fail(error.message)
    except KeyboardInterrupt:
        return 0


def _stats(client: CriClient) -> list[cri.PodSandboxStats]:
    request = cri.ListPodSandboxStatsRequest()
    answer = client.call("ListPodSandboxStats", request, cri.ListPodSandboxStatsResponse)
    return sorted(answer.stats, key=lambda p: (-p.linux.cpu.usage_nano_cores.value, _name(p)))


def _name(pod: cri.PodSandboxStats) -> str:
    return f"{pod.attributes.metadata.namespace}/{pod.attributes.metadata.name}"


def _rows(pod: cri.PodSandboxStats) -> Iterator[tuple[str, ...]]:
    linux, eth0 = pod.linux, pod.linux.network.default_interface
    has_network = pod.linux.HasField("network")
    yield (
        _name(pod),
        "",
        pod.attributes.id[:13],
        *_used(linux.cpu, linux.memory),
        str(linux.process.process_count.value),
        size(eth0.rx_bytes.value) if has_network else "-",
        size(eth0.tx_bytes.value) if has_network else "-",
    )
    for one in sorted(linux.containers, key=lambda c: (-c.cpu.usage_nano_cores.value, c.attributes.metadata.name)):
        used = _used(one.cpu, one.memory) if one.HasField("cpu") else ("-", "-", "-")
        yield ("", one.attributes.metadata.name, one.attributes.id[:13], *used, "", "", "")


def _used(cpu: cri.CpuUsage, memory: cri.MemoryUsage) -> tuple[str, str, str]:
    """CPU in percent of one core; the working set; the memory limit, which is CRI's available_bytes plus that."""
    left, working = memory.available_bytes.value, memory.working_set_bytes.value
    return f"{cpu.usage_nano_cores.value / 1e7:.1f} %", size(working), size(left + working) if left else "-"


def _facts(pod: cri.PodSandboxStats) -> Iterator[dict[str, object]]:
    eth0 = pod.linux.network.default_interface
    yield {
        "pod": _name(pod),
        "id": pod.attributes.id,
        **_usage(pod.linux.cpu, pod.linux.memory),
        "processes": pod.linux.process.process_count.value,
        "rx_bytes": eth0.rx_bytes.value if pod.linux.HasField("network") else None,
        "tx_bytes": eth0.tx_bytes.value if pod.linux.HasField("network") else None,
        "containers": [
            {"name": c.attributes.metadata.name, "id": c.attributes.id, **_usage(c.cpu, c.memory)}
            for c in pod.linux.containers
        ],
    }


def _usage(cpu: cri.CpuUsage, memory: cri.MemoryUsage) -> dict[str, object]:
    return {
        "cpu_nano_cores": cpu.usage_nano_cores.value,
        "cpu_core_nano_seconds": cpu.usage_core_nano_seconds.value,
        "working_set_bytes": memory.working_set_bytes.value,
    }
