"""The NRI driver against a plugin over the upstream Go library (hack/tools/nri-plugin): what both ends agree on."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from crishim.errors import CrishimError
from crishim.nri.events import EVENTS
from crishim.nri.plugins import DriverSettings
from crishim.pb import nri_pb2 as nri
from tests.support.nri_rig import CONTAINER, POD, Node, until

pytestmark = pytest.mark.node
PROGRAM = Path(os.environ.get("CRISHIM_TEST_BIN", "/nonexistent")) / "nri-plugin"


class Go:
    """A runtime, and Go plugins with scenarios."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.node = Node()
        self.node.settings = DriverSettings(
            socket=directory / "nri.sock", plugin_directory=None, registration_timeout=20.0
        )
        self.processes: list[asyncio.subprocess.Process] = []

    async def join(self, scenario: dict[str, Any], *flags: str, index: str = "10", name: str = "go") -> None:
        """Start a plugin and wait until it is called."""
        file = self.directory / f"{index}-{name}.json"
        file.write_text(json.dumps({"log": str(self.log_file), **scenario}))
        arguments = ["-index", index, "-name", name, "-socket", str(self.node.settings.socket), "-scenario", str(file)]
        output = (self.directory / "output").open("ab")
        with output:
            process = await asyncio.create_subprocess_exec(PROGRAM, *arguments, *flags, stdout=output, stderr=output)
        self.processes.append(process)
        await self.ready(len(self.processes))

    async def ready(self, count: int) -> None:
        await until(lambda: [s.state for s in self.node.plugins.status()].count("ready") == count)

    @property
    def log_file(self) -> Path:
        return self.directory / "log"

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """What the plugins were told, in order."""
        lines = [json.loads(line) for line in self.log_file.read_text().splitlines()] if self.log_file.exists() else []
        return [line for line in lines if event in ("", line["event"])]

    async def close(self) -> None:
        await self.node.plugins.close()
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture
async def go(tmp_path: Path) -> AsyncIterator[Go]:
    assert PROGRAM.exists(), "hack/setup test builds it"
    made = Go(tmp_path)
    yield made
    await made.close()


async def test_a_go_plugin_gets_all_events(go: Go) -> None:
    """Configure's values arrive, and pods and containers as they were sent."""
    plugins = await go.node.start(runtime_version="9.9")
    await go.join({})
    resources = nri.LinuxResources(pids=nri.LinuxPids(limit=7))
    await plugins.run_pod_sandbox(POD)
    await plugins.update_pod_sandbox(POD, nri.LinuxResources(), resources)
    await plugins.post_update_pod_sandbox(POD)
    await plugins.create_container(POD, CONTAINER)
    await plugins.post_create_container(POD, CONTAINER)
    await plugins.start_container(POD, CONTAINER)
    await plugins.post_start_container(POD, CONTAINER)
    await plugins.update_container(POD, CONTAINER, resources)
    await plugins.post_update_container(POD, CONTAINER)
    await plugins.stop_container(POD, CONTAINER)
    await plugins.remove_container(POD, CONTAINER)
    await plugins.stop_pod_sandbox(POD)
    await plugins.remove_pod_sandbox(POD)
    configure, synchronize, *told = go.log()
    assert (configure["runtime"], configure["version"]) == ("crishim", "9.9")
    assert synchronize["event"] == "Synchronize"
    assert {line["event"] for line in told} == {event.method for event in EVENTS}
    assert told[0]["pod"] == {"id": "pod", "name": "web", "namespace": "default"}
    assert go.log("StartContainer")[0]["container"]["env"] == ["A=1"]
    (status,) = plugins.status()
    assert status.counters.refused == status.counters.unanswered == 0


@pytest.mark.parametrize("size", [100, 4000, 4096, 5000, 9000, 100_000, 3_500_000])
async def test_pods_of_any_size(go: Go, size: int) -> None:
    """A Go peer's first read takes 4096 bytes; the sizes around that once left it hanging."""
    plugins = await go.node.start()
    await go.join({"events": ["RunPodSandbox"]})
    pod = nri.PodSandbox(id="large", annotations={"x": "y" * size})
    await plugins.run_pod_sandbox(pod)
    await plugins.run_pod_sandbox(POD)
    first, second = go.log("RunPodSandbox")
    assert len(first["pod"]["annotations"]["x"]) == size
    assert second["pod"]["id"] == "pod"


async def test_a_synchronize_of_more_than_a_message(go: Go) -> None:
    """In parts, which the Go library puts together: its handler sees all at once."""
    go.node.pods = [nri.PodSandbox(id=f"p{i}", annotations={"x": "y" * 250_000}) for i in range(20)]
    go.node.containers = [nri.Container(id=f"c{i}", annotations={"x": "y" * 250_000}) for i in range(20)]
    await go.node.start()
    await go.join({})
    (line,) = go.log("Synchronize")
    assert line["pods"] == [p.id for p in go.node.pods]
    assert line["containers"] == [c.id for c in go.node.containers]
    assert go.node.plugins.status()[0].counters.calls["Synchronize"] > 2


async def test_adjustments_updates_and_validation(go: Go) -> None:
    """Two plugins' answers as the Go library encodes them; a third one rejects what comes of it."""
    go.node.containers = [nri.Container(id="other")]
    plugins = await go.node.start()
    adjust = {
        "env": [{"key": "B", "value": "2"}],
        "mounts": [{"destination": "/data", "source": "/srv", "type": "bind", "options": ["rbind", "ro"]}],
        "hooks": {"poststop": [{"path": "/bin/true", "args": ["true"]}]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}],
        "linux": {"devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}],
                  "net_devices": {"eth9": {"name": "net1"}}, "oom_score_adj": {"value": 5}},
    }  # fmt: skip
    update = {"container_id": "other", "linux": {"resources": {"cpu": {"shares": {"value": 7}}}}}
    await go.join({"hooks": {"CreateContainer": {"adjust": adjust, "update": [update]}}})
    take_over = {"env": [{"key": "-B"}, {"key": "B", "value": "3"}]}
    await go.join({"hooks": {"CreateContainer": {"adjust": take_over}}}, index="20")
    made = await plugins.create_container(POD, CONTAINER)
    assert [(e.key, e.value) for e in made.adjustment.env] == [("B", "3")]
    assert made.adjustment.mounts[0].options == ["rbind", "ro"]
    assert made.adjustment.hooks.poststop[0].args == ["true"]
    assert made.adjustment.linux.net_devices["eth9"].name == "net1"
    assert made.adjustment.linux.oom_score_adj.value == 5
    assert made.changes.updates[0].linux.resources.cpu.shares.value == 7
    assert go.log("CreateContainer")[1]["container"]["env"] == ["A=1", "B=2"]
    await go.join({"hooks": {"ValidateContainerAdjustment": {"refuse": "no devices here"}}}, index="30")
    with pytest.raises(CrishimError, match="no devices here"):
        await plugins.create_container(POD, CONTAINER)


async def test_refusals_updates_of_its_own_and_crashes(go: Go) -> None:
    """An error's text arrives; UpdateContainers from inside a handler is answered; a crash ends its connection."""
    go.node.containers = [nri.Container(id="other")]
    plugins = await go.node.start()
    hooks = {
        "RunPodSandbox": {"refuse": "no such device", "times": 1},
        "StartContainer": {"unsolicited": [{"container_id": "other"}]},
        "StopPodSandbox": {"crash": True},
    }
    await go.join({"hooks": hooks})
    with pytest.raises(CrishimError, match="NRI plugin 10-go refused RunPodSandbox: no such device"):
        await plugins.run_pod_sandbox(POD)
    await plugins.run_pod_sandbox(POD)
    await plugins.start_container(POD, CONTAINER)
    assert go.node.updated == ["other"]
    assert go.log("UpdateContainers")[0]["failed"] == 0
    await plugins.stop_pod_sandbox(POD)
    assert await asyncio.wait_for(go.processes[0].wait(), 20) == 7
    assert plugins.status()[-1].state == "closed: it closed its connection"


async def test_one_that_sleeps_beyond_its_deadline_is_dropped(go: Go) -> None:
    """Its handler's context ends with the request's time, and it is told that the runtime is gone."""
    plugins = await go.node.start(request_timeout=0.3)
    await go.join({"hooks": {"RunPodSandbox": {"sleep": "1h"}}})
    await plugins.run_pod_sandbox(POD)
    assert "did not answer RunPodSandbox" in plugins.status()[-1].state
    await asyncio.wait_for(go.processes[0].wait(), 20)


async def test_a_runtime_that_comes_back_is_joined_again(go: Go) -> None:
    """And a plugin that is started anew is told of what there is by then."""
    await go.node.start()
    await go.join({}, "-reconnect")
    await go.node.plugins.close()
    go.node.pods = [POD]
    plugins = await go.node.start()
    await go.ready(1)
    assert [line["pods"] for line in go.log("Synchronize")] == [[], ["pod"]]
    await plugins.run_pod_sandbox(POD)
    assert len(go.log("RunPodSandbox")) == 1


async def test_a_launched_go_plugin_takes_its_scenario_as_configuration(go: Go) -> None:
    """Over descriptor 3, with three variables and no arguments; it ends with the daemon."""
    (go.directory / "plugins").mkdir()
    (go.directory / "plugins" / "00-net").symlink_to(PROGRAM)
    scenario = {"log": str(go.log_file), "events": ["RunPodSandbox"], "hooks": {"RunPodSandbox": {"refuse": "as told"}}}
    (go.directory / "net.conf").write_text(json.dumps(scenario))
    plugins = await go.node.start(plugin_directory=go.directory / "plugins", config_directory=go.directory)
    (configure,) = go.log("Configure")
    expected = {"NRI_PLUGIN_NAME=net", "NRI_PLUGIN_IDX=00", "NRI_PLUGIN_SOCKET=3"}
    assert set(configure["environment"].splitlines()) == expected
    assert configure["arguments"] == []
    with pytest.raises(CrishimError, match="00-net refused RunPodSandbox: as told"):
        await plugins.run_pod_sandbox(POD)
    program = Path(f"/proc/{plugins.status()[0].pid}")
    assert (program / "exe").samefile(PROGRAM)
    await plugins.close()
    assert not program.exists()
