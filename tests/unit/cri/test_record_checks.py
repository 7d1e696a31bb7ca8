"""Records of every state can be worked with; a value that would make List fail for everybody cannot."""

from typing import Any

import pytest
from msgspec.structs import replace

from crishim.cri import record_checks
from crishim.lifecycle import ContainerState, PodState
from crishim.model import NamespacePaths, Network, User
from tests.unit.cri.records import container, pod

NETWORK = Network(name="n", conflist=b'{"name": "n", "type": "bridge"}', capability_args=b"{}", result=b'{"ips": []}')


@pytest.mark.parametrize("state", list(PodState))
def test_pods_of_every_state(state: PodState) -> None:
    record_checks.pod(pod(state=state, network=NETWORK))


@pytest.mark.parametrize("state", list(ContainerState))
def test_containers_of_every_state(state: ContainerState) -> None:
    record_checks.container(container(state=state))


@pytest.mark.parametrize(
    "damage",
    [
        {"config": b"\x0a\xff"},
        {"config": b"\x0a\x02\x0a\xff"},
        {"created_at": 1 << 63},
        {"handler": "\ud800"},
        {"overhead": b"\xff"},
        {"resources": b"\xff"},
        {"cgroup_parent": "/a/../.."},
        {"namespaces": NamespacePaths(net="net")},
        {"network": replace(NETWORK, conflist=b"[]")},
        {"network": replace(NETWORK, capability_args=b"")},
        {"network": replace(NETWORK, result=b"[]")},
    ],
)
def test_a_pod_nobody_can_work_with(damage: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"."):
        record_checks.pod(pod(**{"network": NETWORK} | damage))


@pytest.mark.parametrize(
    "damage",
    [
        {"config": b"\xff"},
        {"finished_at": -(1 << 64)},
        {"exit_code": 1 << 31},
        {"resources": b"\xff"},
        {"log_path": "/a\0b"},
        {"cgroup": "../.."},
        {"user": User(uid=1 << 64, gid=0)},
    ],
)
def test_a_container_nobody_can_work_with(damage: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"."):
        record_checks.container(container(**damage))
