"""Whether a pod takes a container."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState, PodState
from crishim.model import PodRecord
from crishim.node import Node
from crishim.operations.admission import admit, log_path
from crishim.pb import cri_pb2 as cri
from crishim.state.names import container_name
from tests.support.nodes import make_node

POD = "a" * 64


async def add_pod(node: Node, state: PodState = PodState.READY, handler: str = "") -> None:
    config = cri.PodSandboxConfig(log_directory="/logs").SerializeToString()
    await node.pods.add(PodRecord(id=POD, state=state, config=config, handler=handler, created_at=1))


def request(name: str = "c", attempt: int = 0, **fields: Any) -> cri.CreateContainerRequest:
    config = cri.ContainerConfig(metadata=cri.ContainerMetadata(name=name, attempt=attempt), **fields)
    return cri.CreateContainerRequest(pod_sandbox_id=POD[:10], config=config)


@pytest.fixture
async def node(tmp_path: Path) -> Node:
    node = make_node(tmp_path)
    await add_pod(node)
    return node


async def test_a_new_container(node: Node) -> None:
    """A record that is CREATING, with the pod's handler resolved and the log's absolute path; the name is taken."""
    async with admit(node, request(log_path="c/0.log")) as (pod, made):
        assert pod.id == made.pod_id == POD
        assert (made.state, made.handler, made.log_path) == (ContainerState.CREATING, "crun", "/logs/c/0.log")
        assert node.containers.get(made.id) is None
        assert node.names.holder(container_name(POD, "c", 0)) == made.id


@pytest.mark.parametrize("state", [s for s in PodState if s is not PodState.READY])
async def test_a_pod_that_is_not_ready(node: Node, state: PodState) -> None:
    """PRECONDITION says the state."""
    await node.pods.remove(POD)
    await add_pod(node, state)
    with pytest.raises(CrishimError, match=f"is {state}: it takes no container") as caught:
        async with admit(node, request()):
            pytest.fail("not reached")
    assert caught.value.kind is Kind.PRECONDITION


async def test_what_fails_frees_its_name(node: Node) -> None:
    """Unless a record was left, which then keeps it."""
    with pytest.raises(ValueError):
        async with admit(node, request()):
            raise ValueError
    assert node.names.holder(container_name(POD, "c", 0)) is None
    with pytest.raises(ValueError):  # noqa: PT012
        async with admit(node, request()) as (_, made):
            await node.containers.add(made)
            raise ValueError
    assert node.names.holder(container_name(POD, "c", 0)) == made.id


async def test_a_repeated_request(node: Node) -> None:
    """Equal, and its container still CREATED: that one. Not equal, or started by now: EXISTS names the holder."""
    async with admit(node, request()) as (_, made):
        await node.containers.add(replace(made, state=ContainerState.CREATED))
    async with admit(node, request()) as (_, again):
        assert again.id == made.id
    for other in (request(working_dir="/x"), request()):
        if other == request():
            await node.containers.update(made.id, lambda c: replace(c, state=ContainerState.STARTING))
        with pytest.raises(CrishimError, match=made.id[:13]) as caught:
            async with admit(node, other):
                pytest.fail("not reached")
        assert caught.value.kind is Kind.EXISTS
    async with admit(node, request(attempt=1)) as (_, second):
        assert second.id != made.id


@pytest.mark.parametrize(
    ("directory", "name", "path"),
    [
        ("/logs", "c.log", "/logs/c.log"),
        ("/logs", "a/b.log", "/logs/a/b.log"),
        ("/logs", "", ""),
        ("", "c.log", ""),
        ("", "/abs/c.log", "/abs/c.log"),
        ("", "", ""),
    ],
)
def test_log_paths(directory: str, name: str, path: str) -> None:
    """The pod's directory with the name below it; no log without either."""
    assert log_path(directory, name) == path


@pytest.mark.parametrize(
    ("directory", "name"), [("/logs", "../x"), ("/logs", "a/../../x"), ("logs", "x"), ("", "/a/../b")]
)
def test_log_paths_that_leave(directory: str, name: str) -> None:
    """INVALID names the path."""
    with pytest.raises(CrishimError, match="log_path") as caught:
        log_path(directory, name)
    assert caught.value.kind is Kind.INVALID
