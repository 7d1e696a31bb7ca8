"""Devices asked for through CDI files: acceptance cases 2, 4 and 23, under every mover."""

import json
from pathlib import Path
from typing import Any

import pytest

from crishim.cdi.edits import Edits, Registry, apply
from crishim.errors import CrishimError, Kind
from crishim.netdev.plan import Plan
from crishim.netdev.records import DeviceRequest, PodRef, Source
from tests.node.netdev.lab import Lab
from tests.support.eventually import eventually

pytestmark = pytest.mark.node


def write(path: Path, version: str = "1.1.0", kind: str = "vendor.com/nic", **devices: dict[str, str]) -> None:
    """A CDI file: device name -> {host name: name in the pod}."""
    made = [
        {
            "name": name,
            "containerEdits": {"netDevices": [{"hostInterfaceName": h, "name": n} for h, n in moves.items()]},
        }
        for name, moves in devices.items()
    ]
    path.write_text(json.dumps({"cdiVersion": version, "kind": kind, "devices": made}))


def merged_requests(edits: Edits) -> list[DeviceRequest]:
    return [DeviceRequest(device=d, name=n, source=Source.CDI, origin=by) for d, n, by in edits.net_devices]


async def planned(lab: Lab, pod: PodRef, edits: Edits) -> Plan:
    return await lab.devices.plan(merged_requests(edits), pod, lab.kit.mover)


async def run(lab: Lab, pod: PodRef, edits: Edits) -> None:
    async with await planned(lab, pod, edits) as plan:
        await plan.begin()
        container = lab.container(pod, plan.entries)
        config = container.bundle / "config.json"
        spec: dict[str, Any] = json.loads(config.read_text())
        apply(spec, edits)
        config.write_text(json.dumps(spec))
        container.create()
        await plan.verify_and_repair()
        container.start()


async def test_a_rewritten_file_is_honoured(lab: Lab) -> None:
    """Another host device behind the same CDI name at the next create, without a restart (23)."""
    before = [lab.demo("demo0"), lab.demo("demo1")]
    registry = Registry([lab.directory])
    for device in ("demo0", "demo1"):
        write(lab.directory / "nic.json", a={device: "net1"})
        pod = lab.pod(f"pod-{device}")
        await run(lab, pod, registry.resolve(["vendor.com/nic=a"]))
        assert lab.devices.attachments(pod.id)[0].device == device
        assert lab.devices.attachments(pod.id)[0].sources == ("cdi: vendor.com/nic=a",)
    for device in ("demo0", "demo1"):
        await lab.devices.return_devices(PodRef(id=f"pod-{device}-0123456789abcdef", netns=""))
    assert [lab.picture("demo0"), lab.picture("demo1")] == before


async def test_two_devices_one_name_in_one_edit_and_across_two(lab: Lab) -> None:
    """FAILED_PRECONDITION with both devices; both are on the host and UP (4)."""
    before = [lab.demo("demo0"), lab.demo("demo1")]
    write(lab.directory / "nic.json", both={"demo0": "net1", "demo1": "net1"}, a={"demo0": "net1"}, b={"demo1": "net1"})
    registry = Registry([lab.directory])
    pod = lab.pod()
    for names in (["vendor.com/nic=both"], ["vendor.com/nic=a", "vendor.com/nic=b"]):
        with pytest.raises(CrishimError) as caught:
            await run(lab, pod, registry.resolve(names))
        assert caught.value.kind is Kind.PRECONDITION
        assert "demo0" in str(caught.value)
        assert "demo1" in str(caught.value)
        assert [lab.picture("demo0"), lab.picture("demo1")] == before


async def test_a_broken_file_and_an_old_version(lab: Lab) -> None:
    """Another vendor's broken file is skipped; netDevices below 1.1.0 name file and version, nothing moves (23)."""
    before = lab.demo("demo0")
    (lab.directory / "broken.json").write_text("{")
    write(lab.directory / "old.json", version="1.0.0", kind="old.com/nic", a={"demo0": "net1"})
    write(lab.directory / "nic.json", a={"demo0": "net1"})
    registry = Registry([lab.directory])
    with pytest.raises(CrishimError) as caught:
        registry.resolve(["old.com/nic=a"])
    assert "old.json" in str(caught.value)
    assert "1.0.0" in str(caught.value)
    pod = lab.pod()
    await run(lab, pod, registry.resolve(["vendor.com/nic=a"]))
    assert lab.link("net1", pod.netns)
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before


async def test_all_edits_at_once(lab: Lab) -> None:
    """A container starts with env, device node, mount, groups and network device of one CDI device."""
    before = lab.demo("demo0")
    (lab.directory / "given").mkdir()
    (lab.directory / "given/file").write_text("hello")
    edits = {
        "env": ["GIVEN=1"],
        "deviceNodes": [{"path": "/dev/given-null", "hostPath": "/dev/null"}],
        "mounts": [{"hostPath": str(lab.directory / "given"), "containerPath": "/given", "options": ["rbind", "ro"]}],
        "additionalGids": [4242],
        "netDevices": [{"hostInterfaceName": "demo0", "name": "net1"}],
    }
    device = {"name": "a", "containerEdits": edits}
    text = {"cdiVersion": "1.1.0", "kind": "vendor.com/nic", "devices": [device]}
    (lab.directory / "nic.json").write_text(json.dumps(text))
    pod = lab.pod()
    await run(lab, pod, Registry([lab.directory]).resolve(["vendor.com/nic=a"]))
    (container,) = lab.containers
    state = json.loads(container.output("state", container.id))
    root = Path(f"/proc/{state['pid']}/root")
    assert (root / "given/file").read_text() == "hello"
    assert (root / "dev/given-null").is_char_device()
    environment = Path(f"/proc/{state['pid']}/environ")  # until it executes the command, that of the runtime
    await eventually(lambda: b"GIVEN=1" in environment.read_bytes().split(b"\0"))
    groups = next(x for x in Path(f"/proc/{state['pid']}/status").read_text().splitlines() if x.startswith("Groups"))
    assert "4242" in groups.split()
    await lab.devices.return_devices(pod)
    assert lab.picture("demo0") == before
