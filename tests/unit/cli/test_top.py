"""What `crishim top` and `crishim info` make of the CRI's figures."""

from typing import Any

import pytest

from crishim.cli import top
from crishim.cli.client import size
from crishim.cli.info import by_state
from crishim.pb import cri_pb2 as cri


class Client:
    """Answers ListPodSandboxStats."""

    def __init__(self, *pods: cri.PodSandboxStats) -> None:
        self.answer = cri.ListPodSandboxStatsResponse(stats=pods)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None: ...

    def call(self, name: str, *_: Any) -> Any:
        assert name == "ListPodSandboxStats"
        return self.answer


def cpu(percent: float) -> cri.CpuUsage:
    return cri.CpuUsage(usage_nano_cores=cri.UInt64Value(value=int(percent * 1e7)))


def memory(working: int, left: int = 0) -> cri.MemoryUsage:
    value = cri.UInt64Value
    return cri.MemoryUsage(working_set_bytes=value(value=working), available_bytes=value(value=left))


def pod(name: str, percent: float, *containers: cri.ContainerStats) -> cri.PodSandboxStats:
    metadata = cri.PodSandboxMetadata(name=name, namespace="demo")
    linux = cri.LinuxPodSandboxStats(cpu=cpu(percent), memory=memory(3 << 20), containers=containers)
    linux.process.process_count.value = 4
    return cri.PodSandboxStats(attributes=cri.PodSandboxAttributes(id=name * 20, metadata=metadata), linux=linux)


def container(name: str, percent: float, **known: Any) -> cri.ContainerStats:
    attributes = cri.ContainerAttributes(id=name * 20, metadata=cri.ContainerMetadata(name=name))
    return cri.ContainerStats(attributes=attributes, cpu=cpu(percent), **known)


def shown(client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    monkeypatch.setattr(top, "connect_cri", lambda config: client)
    config: Any = None
    assert top.show(config, interval=1, once=True, as_json=False) == 0
    return [line.split() for line in capsys.readouterr().out.splitlines()[1:]]


def test_the_busiest_first(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Pods, and containers in them; a limit where there is one; no network figures of a pod on the host's."""
    limited = memory(1 << 20, left=3 << 20)
    networked = pod("b", 50)
    networked.linux.network.default_interface.rx_bytes.value = 2048
    client = Client(pod("a", 1.5, container("x", 0.5, memory=limited), container("y", 1)), networked)
    rows = shown(client, monkeypatch, capsys)
    assert rows[0] == ["demo/b", "b" * 13, "50.0", "%", "3.1", "MB", "-", "4", "2.0", "kB", "0", "B"]
    assert rows[1] == ["demo/a", "a" * 13, "1.5", "%", "3.1", "MB", "-", "4", "-", "-"]
    assert [row[0] for row in rows[2:]] == ["y", "x"]
    assert rows[3] == ["x", "x" * 13, "0.5", "%", "1.0", "MB", "4.2", "MB"]


def test_a_container_that_has_ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It uses nothing, and nothing is told."""
    ended = cri.ContainerStats(
        attributes=cri.ContainerAttributes(id="e" * 20, metadata=cri.ContainerMetadata(name="once"))
    )
    rows = shown(Client(pod("a", 1, ended)), monkeypatch, capsys)
    assert rows[1] == ["once", "e" * 13, "-", "-", "-"]


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_440_000, "9.4 MB"),
        (5_000_000_000, "5.0 GB"),
        (7_000_000_000_000, "7000.0 GB"),
    ],
)
def test_sizes(count: int, said: str) -> None:
    assert size(count) == said


def test_counts_by_state() -> None:
    assert by_state([]) == "none"
    assert by_state(["READY", "NOTREADY", "READY"]) == "3: 2 ready, 1 notready"
