"""CDI edits on an OCI spec, kind by kind."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from crishim.cdi.apply import apply
from crishim.cdi.format import DeviceNode, Edits, Hook, IntelRdt, Mount
from crishim.errors import CrishimError, Kind


def edited(spec: dict[str, Any] | None = None, **edits: Any) -> dict[str, Any]:
    made = spec or {}
    apply(made, Edits(**edits))
    return made


def test_no_edits_change_nothing() -> None:
    """An empty Edits leaves a spec as it is."""
    assert edited({"process": {"env": ["A=1"]}}) == {"process": {"env": ["A=1"]}}


def test_env_replaces_in_place() -> None:
    """A variable that exists keeps its place and gets the new value; others are appended."""
    spec = edited({"process": {"env": ["A=1", "B=2"]}}, env=("C=3", "A=9"))
    assert spec["process"]["env"] == ["A=9", "B=2", "C=3"]


def test_a_device_node_is_completed_from_the_host() -> None:
    """Type, numbers and mode come from the host's node; the cgroup rule allows rwm; the user owns it."""
    user = {"process": {"user": {"uid": 1000, "gid": 0}}}
    spec = edited(user, device_nodes=(DeviceNode(path="/dev/inside", host_path="/dev/null"),))
    mode = stat.S_IMODE(os.stat("/dev/null").st_mode)
    expected = {"path": "/dev/inside", "type": "c", "major": 1, "minor": 3, "fileMode": mode, "uid": 1000}
    assert spec["linux"]["devices"] == [expected]
    rule = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}
    assert spec["linux"]["resources"]["devices"] == [rule]


def test_a_described_node_need_not_exist() -> None:
    """A node whose type and number the file gives is taken as given; permissions "none" allow nothing."""
    node = DeviceNode(path="/dev/none-such", type="b", major=8, minor=1, permissions="none")
    spec = edited({"linux": {"devices": [{"path": "/dev/none-such"}]}}, device_nodes=(node,))
    assert spec["linux"]["devices"] == [{"path": "/dev/none-such", "type": "b", "major": 8, "minor": 1}]
    assert spec["linux"]["resources"]["devices"][0]["access"] == ""


def test_a_node_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A missing node, a plain file and a node of another type are PRECONDITION and name the path."""
    plain = tmp_path / "file"
    plain.touch()
    for node in (
        DeviceNode(path="/dev/none-such"),
        DeviceNode(path=str(plain)),
        DeviceNode(path="/dev/null", type="p"),
    ):
        if node.type == "p":
            node = DeviceNode(path="/dev/null", type="b")
        with pytest.raises(CrishimError, match=node.path) as caught:
            edited(device_nodes=(node,))
        assert caught.value.kind is Kind.PRECONDITION


def test_a_fifo_is_a_device_node_without_numbers(tmp_path: Path) -> None:
    """A named pipe is type p; the device cgroup has no rule for it."""
    os.mkfifo(tmp_path / "p", 0o640)
    spec = edited(device_nodes=(DeviceNode(path=str(tmp_path / "p")),))
    assert spec["linux"]["devices"][0]["type"] == "p"
    assert "resources" not in spec["linux"]


def test_mounts_replace_and_are_sorted() -> None:
    """A mount replaces the one at its destination, and deep ones come after shallow ones."""
    before = {"mounts": [{"destination": "/a/b", "source": "x"}, {"destination": "/proc", "source": "proc"}]}
    mounts = (
        Mount(host_path="/h", container_path="/a", options=("ro", "bind")),
        Mount(host_path="/i", container_path="/proc", type="bind"),
    )
    spec = edited(before, mounts=mounts)
    assert [(m["destination"], m["source"]) for m in spec["mounts"]] == [("/a", "/h"), ("/proc", "/i"), ("/a/b", "x")]
    assert spec["mounts"][0] == {"source": "/h", "destination": "/a", "options": ["ro", "bind"]}


@pytest.mark.parametrize(
    ("mount", "option"),
    [
        (Mount(host_path="/h", container_path="/a", options=("bind",)), "idmap"),
        (Mount(host_path="/h", container_path="/a", options=("rbind",)), "ridmap"),
        (Mount(host_path="/h", container_path="/a", type="bind"), "idmap"),
        (Mount(host_path="/h", container_path="/a", options=("bind", "ridmap")), "ridmap"),
    ],
)
def test_mounts_are_mapped_in_a_user_namespace(mount: Mount, option: str) -> None:
    """A bind mount of a container with a user namespace gets its ids mapped, unless the file says how."""
    spec = edited({"linux": {"namespaces": [{"type": "user"}]}}, mounts=(mount,))
    assert [o for o in spec["mounts"][0]["options"] if o.endswith("idmap")] == [option]


def test_hooks_groups_and_rdt() -> None:
    """Hooks are appended under their name, groups come once without 0, the RDT class is set."""
    spec = edited(
        {"process": {"user": {"additionalGids": [7]}}},
        hooks=(Hook(hook_name="createRuntime", path="/bin/h", args=("h", "x"), timeout=3),),
        gids=(0, 7, 8),
        intel_rdt=IntelRdt(clos_id="c", l3_cache_schema="L3:0=f", enable_monitoring=True),
    )
    assert spec["hooks"] == {"createRuntime": [{"path": "/bin/h", "args": ["h", "x"], "timeout": 3}]}
    assert spec["process"]["user"]["additionalGids"] == [7, 8]
    assert spec["linux"]["intelRdt"] == {"closID": "c", "l3CacheSchema": "L3:0=f", "enableMonitoring": True}
