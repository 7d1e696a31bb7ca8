"""The daemon dies: acceptance case 19, at every state of the journal and between them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from crishim.linux import namespaces
from crishim.netdev.records import Mover, PodRef, State
from tests.node.netdev.lab import Lab

pytestmark = pytest.mark.node
DOOMED = Path(__file__).with_name("doomed.py")
ATTACH = (
    "INTENT on disk",
    "altname on the link",
    "moved, MOVED not on disk",
    "MOVED on disk",
    "verified, READY not on disk",
    "READY on disk",
)
RETURN = (
    "RETURNING on disk",
    "link mended in the pod",
    "back on the host, bare",
    "all back, none restored",
    "flags restored",
    "addresses restored",
    "all restored, DONE not on disk",
    "DONE",
)


def furnish(lab: Lab) -> None:
    lab.demo()
    lab.ip("link property add dev demo0 altname uplink")
    lab.ip(f"route add 10.1.0.0/16 via 192.0.{sum(b'demo0') % 200}.1 dev demo0 table 100")


def run_until_it_dies(lab: Lab, pod: PodRef, point: str, devices: str = "demo0") -> None:
    """devices: their names with commas between them, net1 and so on in the pod."""
    argv = [sys.executable, str(DOOMED), str(lab.directory), lab.kit.name, msgspec.json.encode(pod).decode(), point]
    argv += [msgspec.json.encode([pod]).decode(), devices]
    root = str(Path(__file__).parents[3])
    done = subprocess.run(argv, env=os.environ | {"PYTHONPATH": root}, capture_output=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.parametrize("point", [*ATTACH, *RETURN])
async def test_a_killed_daemon_converges_after_its_restart(lab: Lab, point: str) -> None:
    """Before READY: undone. READY: kept. After: returned. The link is as it was, nothing is left in the journal."""
    furnish(lab)
    before = lab.picture("demo0")
    pod = lab.pod()
    run_until_it_dies(lab, pod, point)
    devices = lab.driver()
    attached = await devices.recover([pod])
    if point == "READY on disk":
        assert [a.state for a in attached] == [State.READY]
        assert lab.link("net1", pod.netns)
        await devices.return_devices(pod)
    else:
        assert attached == ()
    assert lab.picture("demo0") == before
    assert list(lab.journal.iterdir()) == []
    assert await devices.recover([pod]) == ()
    lab.devices = devices
    await lab.attach(pod, ("demo0", "net1"), run=False)
    await devices.return_devices(pod)
    assert lab.picture("demo0") == before


@pytest.mark.parametrize("point", ["back on the host, bare", "all back, none restored", "flags restored"])
async def test_killed_while_two_devices_come_home(builtin_lab: Lab, point: str) -> None:
    """One home and bare and one in the pod; both home and bare; one restored: each is as it was after the restart."""
    lab = builtin_lab
    before = [lab.demo("demo0"), lab.demo("demo1")]
    pod = lab.pod()
    run_until_it_dies(lab, pod, point, "demo0,demo1")
    assert len(list(lab.journal.iterdir())) == 2
    assert await lab.driver().recover([pod]) == ()
    assert [lab.picture("demo0"), lab.picture("demo1")] == before
    assert list(lab.journal.iterdir()) == []


async def test_a_ready_device_of_a_pod_that_is_gone_is_returned(builtin_lab: Lab) -> None:
    """The daemon's restart does not know the pod any more, but its namespace still exists: the device comes home."""
    lab = builtin_lab
    furnish(lab)
    before = lab.picture("demo0")
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    assert await lab.driver().recover([]) == ()
    assert lab.picture("demo0") == before


@pytest.mark.parametrize("known", [True, False])
async def test_a_device_that_died_with_its_namespace_is_dropped(builtin_lab: Lab, known: bool) -> None:
    """Namespace and veth are gone, the pod is unknown: nothing stays in the journal; of a known pod it is LOST."""
    lab = builtin_lab
    furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    namespaces.unpin(Path(pod.netns))
    left = await lab.driver().recover([pod] if known else [])
    assert [a.state for a in left] == ([State.LOST] if known else [])


async def test_a_record_of_an_earlier_boot_is_dropped(builtin_lab: Lab) -> None:
    """After a reboot every namespace is gone and every device fresh: the record means nothing, nothing is touched."""
    lab = builtin_lab
    furnish(lab)
    before = lab.picture("demo0")
    pod = lab.pod()
    async with await lab.plan(pod, ("demo0", "net1")):
        (path,) = lab.journal.iterdir()
        text = path.read_text()
    path.write_text(text.replace(msgspec.json.decode(text)["boot"], "another-boot"))
    lab.ip("link set demo0 mtu 1399")
    assert await lab.driver().recover([pod]) == ()
    assert list(lab.journal.iterdir()) == []
    assert lab.picture("demo0") == before | {"mtu": 1399} | {"settings": lab.settings("demo0")}


async def test_a_torn_file_stays_as_it_is(builtin_lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """A file that cannot be read stays for a version that can, with an error in the log, and hinders nothing."""
    lab = builtin_lab
    (lab.journal / "0123456789abcdef.json").write_text("{")
    (lab.journal / "fedcba9876543210.tmp").write_text("{")
    assert await lab.driver().recover([]) == ()
    assert [(p.name, p.read_text()) for p in lab.journal.iterdir()] == [("0123456789abcdef.json", "{")]
    assert "nothing is known of the device of an unreadable record" in caplog.messages


async def test_a_lost_device_of_a_living_pod_stays_listed(builtin_lab: Lab) -> None:
    """LOST survives the restart while its pod lives, and is dropped with it."""
    lab = builtin_lab
    furnish(lab)
    pod = lab.pod()
    await lab.attach(pod, ("demo0", "net1"), run=False)
    lab.ip("link del net1", pod.netns)
    await lab.devices.return_devices(pod)
    assert [a.state for a in await lab.driver().recover([pod])] == [State.LOST]
    assert await lab.driver().recover([]) == ()
    assert lab.kit.mover is Mover.BUILTIN
