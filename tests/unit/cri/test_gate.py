"""What is answered while the daemon starts, what waits, and what is refused."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from crishim.cri import rpcs
from crishim.cri.gate import EARLY, PATIENCE, RpcGate, is_read_only
from crishim.errors import CrishimError, Kind
from tests.support.nodes import make_node
from tests.support.own_clock import simulate

QUESTIONS = {
    *("ListPodSandbox", "PodSandboxStatus", "StreamPodSandboxes", "ListContainers", "ContainerStatus"),
    *("StreamContainers", "ContainerStats", "ListContainerStats", "StreamContainerStats", "PodSandboxStats"),
    *("ListPodSandboxStats", "StreamPodSandboxStats", "ListMetricDescriptors", "ListPodSandboxMetrics"),
    *("StreamPodSandboxMetrics", "GetContainerEvents", "ListImages", "StreamImages", "ImageStatus", "ImageFsInfo"),
    *("ListNetDevices", "ListHostLinks", "ListNriPlugins", "ListPulls", "ListPodStarts", "StreamNetDeviceChanges"),
}


async def answer(node: Any, request: Any) -> Any: ...


ALL: Mapping[str, Any] = dict.fromkeys(("Version", "ListContainers", "StopContainer", "ExecSync"), answer)


def test_questions() -> None:
    """Those that change nothing; a new RPC is to be thought about here."""
    assert {name for name in rpcs.collect() if is_read_only(name)} - EARLY.keys() == QUESTIONS
    assert EARLY.keys() == {"Version", "Status", "RuntimeConfig", "UpdateRuntimeConfig"}


def test_before_the_records_are_read(tmp_path: Path) -> None:
    """The runtime's own RPCs, of the node there is; all others wait, and then get the whole node."""
    part, whole = make_node(tmp_path / "part"), make_node(tmp_path / "whole")

    async def scene() -> None:
        gate = RpcGate(part)
        assert await gate.admit("Version") == (part, EARLY["Version"])
        waiting = asyncio.ensure_future(gate.admit("ListContainers"))
        await asyncio.sleep(3600)
        assert not waiting.done()
        gate.open_for_reads(whole, ALL)
        assert await waiting == (whole, answer)
        assert await gate.admit("Version") == (whole, answer)

    simulate(scene())


def test_a_change_waits_for_recovery(tmp_path: Path) -> None:
    """Within its patience; what comes later is refused, and what comes after recovery is not held up."""
    node = make_node(tmp_path)

    async def scene() -> None:
        gate = RpcGate(node)
        gate.open_for_reads(node, ALL)
        early = asyncio.ensure_future(gate.admit("StopContainer"))
        await asyncio.sleep(1)
        late = asyncio.ensure_future(gate.admit("StopContainer"))
        await asyncio.sleep(PATIENCE - 0.5)
        with pytest.raises(CrishimError, match="recovery is not complete") as caught:
            await early
        assert caught.value.kind is Kind.UNAVAILABLE
        gate.open()
        assert await late == (node, answer)
        assert await gate.admit("StopContainer") == (node, answer)

    simulate(scene())


def test_a_question_waits_where_a_record_is_in_doubt(tmp_path: Path) -> None:
    """A kubelet that was told a container was not started would make another."""
    node = make_node(tmp_path)

    async def scene() -> None:
        gate = RpcGate(node)
        gate.open_for_reads(node, ALL, in_doubt=True)
        assert await gate.admit("Version") == (node, answer)
        waiting = asyncio.ensure_future(gate.admit("ListContainers"))
        await asyncio.sleep(PATIENCE / 2)
        assert not waiting.done()
        gate.open()
        assert await waiting == (node, answer)

    simulate(scene())


def test_a_probe_does_not_wait(tmp_path: Path) -> None:
    """Its time would run, and the kubelet would count it as failed."""
    node = make_node(tmp_path)

    async def scene() -> None:
        gate = RpcGate(node)
        gate.open_for_reads(node, ALL)
        before = asyncio.get_running_loop().time()
        with pytest.raises(CrishimError) as caught:
            await gate.admit("ExecSync")
        assert caught.value.kind is Kind.UNAVAILABLE
        assert asyncio.get_running_loop().time() == before
        gate.open()
        assert await gate.admit("ExecSync") == (node, answer)

    simulate(scene())


def test_what_is_not_there_says_so_during_recovery(tmp_path: Path) -> None:
    """A method without a function will not get one by waiting."""

    async def scene() -> None:
        gate = RpcGate(make_node(tmp_path))
        gate.open_for_reads(make_node(tmp_path), ALL)
        with pytest.raises(CrishimError) as caught:
            await gate.admit("NoSuchMethod")
        assert caught.value.kind is Kind.UNIMPLEMENTED

    simulate(scene())
