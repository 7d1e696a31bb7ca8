"""Upgrade and downgrade with records that a version wrote: tests/records/schemaN, on a daemon of this version."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from crishim.operations.adopt import NOTE
from crishim.pb import cri_pb2 as cri
from tests.node.damaged_records import no_record_remains
from tests.support.daemon import Daemon

pytestmark = pytest.mark.node
RECORDS = Path(__file__).parents[1] / "records"


def install(daemon: Daemon, directory: Path, **changes: Any) -> None:
    """Put a version's records in the daemon's place, as after a reboot; their network is the daemon's."""
    conflist = base64.b64encode((daemon.cni / "10-test.conflist").read_bytes()).decode()
    for kind in ("pods", "containers", "netdev"):
        for path in (directory / kind).iterdir():
            tree = json.loads(path.read_bytes()) | changes
            if tree.get("network"):
                tree["network"]["conflist"] = conflist
            (daemon.state / kind / path.name).write_text(json.dumps(tree))


@pytest.mark.parametrize("schema", sorted(RECORDS.glob("schema*")), ids=lambda path: path.name)
@pytest.mark.parametrize("later", [False, True], ids=["upgrade", "downgrade"])
def test_after_a_reboot(daemon: Daemon, schema: Path, later: bool) -> None:
    """The pods are NOTREADY and the containers EXITED, all by their names, and go; a later version's too."""
    daemon.stop()
    install(daemon, schema, **({"schema": 9, "added": {"x": 1}} if later else {}))
    daemon.start()
    pods = {p.metadata.name: p for p in daemon.call("ListPodSandbox").items}
    containers = {c.metadata.name: c for c in daemon.call("ListContainers").containers}
    assert {name: p.state for name, p in pods.items()} == dict.fromkeys(
        ("shared", "host", "stopped"), cri.SANDBOX_NOTREADY
    )
    assert {name: c.state for name, c in containers.items()} == dict.fromkeys(
        ("runs", "waits", "ended", "host"), cri.CONTAINER_EXITED
    )
    ended = daemon.call("ContainerStatus", container_id=containers["ended"].id).status
    assert (ended.exit_code, ended.reason) == (4, "Error")
    assert dict(pods["shared"].labels) == {"app": "\u00e9"}
    assert pods["shared"].metadata.uid == "uid-shared"
    assert all((NOTE in m.annotations) == later for m in [*pods.values(), *containers.values()])
    for pod in pods.values():
        daemon.call("RemovePodSandbox", pod_sandbox_id=pod.id)
    assert not daemon.call("ListContainers").containers
    no_record_remains(daemon)
