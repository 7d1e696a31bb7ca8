"""Running a chain of plugins, with plugins that are small scripts."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from crishim.cni import chain
from crishim.cni.chain import PluginChain, RuntimeConf, decode_result, unchecked
from crishim.cni.format import NetworkList
from crishim.errors import CrishimError, Kind

RESULT = '{"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.%d/24"}]}'


class Bench:
    """Plugins in a directory that write down the order of their calls."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.plugins = PluginChain([str(directory / "none"), str(directory)], 5)

    def plugin(self, name: str, script: str) -> None:
        path = self.directory / name
        path.write_text(f'#!/bin/sh\necho "$CNI_COMMAND {name} $(cat)" >> {self.directory}/calls\n{script}\n')
        path.chmod(0o755)

    def calls(self) -> list[str]:
        """COMMAND NAME of each."""
        path = self.directory / "calls"
        return [" ".join(line.split(" ")[:2]) for line in path.read_text().splitlines()] if path.exists() else []

    def inputs(self) -> list[Any]:
        return [
            decode_result(line.split(" ", 2)[2].encode())
            for line in (self.directory / "calls").read_text().splitlines()
        ]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.plugin("a", f"echo '{RESULT % 1}'")
    bench.plugin("b", f"echo '{RESULT % 2}'")
    return bench


def network(version: str = "1.0.0", **fields: Any) -> NetworkList:
    return NetworkList(name="n", version=version, plugins=({"type": "a"}, {"type": "b"}), **fields)


CONF = RuntimeConf("id", "/ns", {}, {})


async def test_add(bench: Bench) -> None:
    """In order, each with the result of the one before; the last one's is the answer."""
    result = await bench.plugins.add(network(), CONF)
    assert result["ips"] == [{"address": "10.0.0.2/24"}]
    assert bench.calls() == ["ADD a", "ADD b"]
    first, second = bench.inputs()
    assert "prevResult" not in first
    assert second["prevResult"]["ips"] == [{"address": "10.0.0.1/24"}]


@pytest.mark.parametrize(("version", "given"), [("0.3.1", False), ("0.4.0", True), ("1.0.0", True)])
async def test_delete(bench: Bench, version: str, given: bool) -> None:
    """In reverse, with the cached result since 0.4.0; the first failure ends it."""
    await bench.plugins.delete(network(version), CONF, {"ips": []})
    assert bench.calls() == ["DEL b", "DEL a"]
    assert [("prevResult" in i) for i in bench.inputs()] == [given, given]
    bench.plugin("b", "exit 1")
    with pytest.raises(CrishimError, match="CNI plugin b failed to DEL"):
        await bench.plugins.delete(network(version), CONF, None)
    assert bench.calls()[2:] == ["DEL b"]


async def test_check(bench: Bench) -> None:
    """In order with the cached result, each plugin whatever the first says; not below 0.4.0, nor where it is off."""
    for off in (network("0.3.1"), network(disable_check=True)):
        assert unchecked(off)
        assert await bench.plugins.check(off, CONF, {}) == ()
    assert bench.calls() == []
    found = await bench.plugins.check(network(), CONF, {"ips": []})
    assert [(answer.plugin, answer.error) for answer in found] == [("a", ""), ("b", "")]
    assert bench.calls() == ["CHECK a", "CHECK b"]
    assert [i["prevResult"] for i in bench.inputs()] == [{"ips": []}] * 2
    bench.plugin("a", """echo '{"code": 100, "msg": "eth0 is gone"}'; exit 1""")
    first, second = await bench.plugins.check(network(), CONF, {})
    assert (first.error, second.error) == ("CNI plugin a failed to CHECK: eth0 is gone", "")


async def test_a_check_that_hangs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed at its time, and the next plugin is asked."""
    monkeypatch.setattr(chain, "CHECK_TIMEOUT", 0.2)
    bench.plugin("a", "exec sleep 600")
    first, second = await bench.plugins.check(network(), CONF, {})
    assert "did not finish within 0.2 s" in first.error
    assert second.error == ""


async def test_status(bench: Bench) -> None:
    """Asked since 1.1.0; before, the programs have to be there."""
    await bench.plugins.status(network())
    assert bench.calls() == []
    await bench.plugins.status(network("1.1.0"))
    assert bench.calls() == ["STATUS a", "STATUS b"]
    (bench.directory / "b").unlink()
    with pytest.raises(CrishimError, match="there is no CNI plugin b in "):
        await bench.plugins.status(network())


async def test_programs(bench: Bench) -> None:
    """The first directory that has one wins; what cannot be executed is none."""
    assert bench.plugins.find("a") == bench.directory / "a"
    (bench.directory / "none").mkdir()
    (bench.directory / "none/a").write_text("")
    assert bench.plugins.find("a") == bench.directory / "a"
    (bench.directory / "none/a").chmod(0o755)
    assert bench.plugins.find("a") == bench.directory / "none/a"
    (bench.directory / "none/b").mkdir()
    assert bench.plugins.find("b") == bench.directory / "b"


@pytest.mark.parametrize(
    ("script", "kind", "text"),
    [
        ("echo oops >&2; exit 4", Kind.INTERNAL, "with status 4: oops"),
        ('echo \'{"code": 11, "msg": "busy"}\'; exit 1', Kind.UNAVAILABLE, "busy"),
        ("exit 1", Kind.INTERNAL, "it said nothing"),
        ("echo", Kind.INTERNAL, "answered no JSON object"),
        ("exec sleep 60", Kind.DEADLINE, "did not finish within 0.2 s"),
    ],
)
async def test_failures(bench: Bench, script: str, kind: Kind, text: str) -> None:
    """The plugin is named, with its words."""
    bench.plugin("a", script)
    plugins = PluginChain([str(bench.directory)], 0.2 if kind is Kind.DEADLINE else 5)
    with pytest.raises(CrishimError) as caught:
        await plugins.add(network(), CONF)
    assert caught.value.kind is kind
    assert text in caught.value.message
    assert "a " in caught.value.message
    assert bench.calls() == ["ADD a"]


def test_a_cached_result() -> None:
    """Empty bytes are no result."""
    assert decode_result(b"") is None
    assert decode_result(b"{}") == {}


async def test_a_cancelled_add_lets_the_plugin_end(bench: Bench) -> None:
    """host-local killed in its middle leaves an address that no DEL finds."""
    fifos = [bench.directory / name for name in ("begun", "go")]
    for fifo in fifos:
        os.mkfifo(fifo)
    begun, go = fifos
    bench.plugin("a", f"echo >{begun}; read _ <{go}; touch {bench.directory}/ended")
    adding = asyncio.create_task(bench.plugins.add(network(), CONF))
    await asyncio.to_thread(begun.read_bytes)
    adding.cancel()
    await asyncio.sleep(0)
    await asyncio.to_thread(go.write_text, "\n")
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert (bench.directory / "ended").exists()
