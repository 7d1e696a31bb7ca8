"""The driver's front: a running pod's device, the host's links, the watch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crishim.device_rules import Rule
from crishim.netdev import driver as module
from crishim.netdev.driver import NetDevices
from crishim.netdev.policy import Policy, Terms
from crishim.netdev.presence import ATTACHED
from crishim.netdev.records import State
from tests.unit.netdev.fake_addresses import FakeAddresses
from tests.unit.netdev.fake_links import veth
from tests.unit.netdev.test_driver import ASKED, Scene, Taken, scene

__all__ = ["scene"]


async def test_a_running_pod_gets_a_device(scene: Scene, fake_addresses: FakeAddresses) -> None:
    """Made right before it is told to be there."""
    known = scene.known(5)
    scene.driver._leases = Taken(scene, ([], [known]))  # type: ignore[assignment]
    scene.inside.links[5], scene.inside.devices[5] = veth(5, "by-the-pod"), 1005
    assert await scene.driver.attach(scene.pod, ASKED[0]) == known
    assert scene.inside.links[5].name == "net5"
    assert not scene.driver._lock("pod-a").locked()


async def test_the_hosts_links(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read on the host alone, with what pods hold and the terms."""
    held = scene.known(5)
    monkeypatch.setattr(module, "list_links", lambda *what: [what])
    found: Any = await scene.driver.host_links()
    assert found == [(scene.host, [held], scene.driver._terms)]
    assert scene.paths == [("/host",)]


class Watch:
    def __init__(self, error: OSError | None = None) -> None:
        self.error = error
        self.calls: list[str] = []

    async def start(self) -> None:
        self.calls.append("start")
        if self.error is not None:
            raise self.error

    def close(self) -> "Watch":
        self.calls.append("close")
        return self

    def __await__(self) -> Iterator[None]:
        return iter(())


@pytest.mark.parametrize("error", [None, OSError("no")])
async def test_the_watch(scene: Scene, error: OSError | None, caplog: pytest.LogCaptureFixture) -> None:
    """Started, and closed with the host's sysfs; a host that cannot be watched is served without."""
    watch = Watch(error)
    scene.driver._watch = scene.driver._sysfs = watch  # type: ignore[assignment]
    await scene.driver.watch()
    await scene.driver.close()
    assert watch.calls == ["start", "close", "close"]
    assert ("cannot be watched" in caplog.text) is (error is not None)


def test_where_devices_come_from(tmp_path: Path) -> None:
    """The process's own namespace, unless it is told another."""
    assert NetDevices(tmp_path)._host == Path("/proc/self/ns/net")
    assert NetDevices(tmp_path, host_netns=Path("/host"))._host == Path("/host")


async def test_the_watches(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both begin and end; one that cannot listen to the host's links is no error."""
    told: list[str] = []

    class Watching:
        def __init__(self, name: str, error: OSError | None = None) -> None:
            self.name, self.error = name, error

        async def start(self) -> None:
            told.append(f"{self.name} starts")
            if self.error is not None:
                raise self.error

        async def close(self) -> None:
            told.append(f"{self.name} ends")

    class InPods(Watching):
        def start(self) -> None:  # type: ignore[override]
            told.append(f"{self.name} starts")

    monkeypatch.setattr(scene.driver, "_pod_watch", InPods("pods"))
    monkeypatch.setattr(scene.driver, "_watch", Watching("host", OSError("refused")))
    await scene.driver.watch()
    await scene.driver.close()
    assert told == ["pods starts", "host starts", "pods ends", "host ends"]


async def test_the_journal_is_read_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    monkeypatch.setattr(scene.driver._journal, "load", lambda: read.append(1))
    await scene.driver.load()
    await scene.driver.load()
    assert len(read) == 1


async def test_what_is_asked_of_others(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal tells of changes, the watch of presence, and rules are given to the policy."""
    heard: list[str] = []
    known = scene.known(5)
    with scene.driver.listening(lambda changed: heard.append(changed.id)):
        scene.journal.advance(known, State.RETURNING)
    assert heard == [known.id]
    assert scene.driver.presence(known) is ATTACHED
    monkeypatch.setattr(scene.driver, "_terms", Terms(Policy()))
    scene.driver.allow([Rule(devices=["demo*"], namespaces=["a"])])
    assert [g.namespaces for g in scene.driver._terms.policy.grants(["demo0"], "veth")] == [("a",)]
