"""crishim/nri/creation.py: what plugins' answers make of a container, and who may forbid it."""

import asyncio
from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.nri.validator import Validator
from crishim.pb import nri_pb2 as nri
from crishim.pb.nri import fields_pb2 as fields
from tests.support.nri_plugin import Refusal
from tests.support.nri_rig import CONTAINER, POD, Join, Node
from tests.unit.nri.messages import env

CREATE, VALIDATE = 1 << 3, 1 << 13


def answers(adjust: nri.ContainerAdjustment | None = None, **more: Any) -> Any:
    return lambda request: nri.CreateContainerResponse(adjust=adjust, **more)


def update(container: str) -> nri.ContainerUpdate:
    resources = nri.LinuxResources(pids=nri.LinuxPids(limit=5))
    return nri.ContainerUpdate(container_id=container, linux=nri.LinuxContainerUpdate(resources=resources))


async def test_each_sees_what_those_before_it_changed(node: Node, join: Join) -> None:
    await node.start()
    first = await join("10", "first", events=CREATE, CreateContainer=answers(env(A="2", B="3")))
    second = await join("20", "second", events=CREATE, CreateContainer=answers(env(_A="", C="4")))
    third = await join("30", "third", events=CREATE)
    made = await node.plugins.create_container(POD, CONTAINER)
    seen = [list(p.of("CreateContainer")[0].container.env) for p in (first, second, third)]
    assert seen == [["A=1"], ["A=2", "B=3"], ["B=3", "C=4"]]
    assert [(e.key, e.value) for e in made.adjustment.env] == [("B", "3"), ("-A", ""), ("C", "4")]
    assert made.owners.compound[fields.Env].owners["A"] == "20-second"
    assert CONTAINER.env == ["A=1"]


async def test_a_conflict_fails_the_creation(node: Node, join: Join) -> None:
    await node.start()
    await join("10", "a", CreateContainer=answers(env(X="1")))
    await join("20", "b", CreateContainer=answers(env(X="2")))
    with pytest.raises(CrishimError, match=r'^plugins "20-b" and "10-a" both tried to set Env X$'):
        await node.plugins.create_container(POD, CONTAINER)


async def test_nonsense_fails_the_creation_by_plugin_and_field(node: Node, join: Join) -> None:
    await node.start()
    await join("10", "a", CreateContainer=answers(nri.ContainerAdjustment(mounts=[nri.Mount(destination="etc")])))
    with pytest.raises(CrishimError, match="NRI plugin 10-a: adjustment mounts has the destination") as caught:
        await node.plugins.create_container(POD, CONTAINER)
    assert caught.value.kind == Kind.INVALID
    assert node.plugins.status()[0].state == "ready"


async def test_changes_of_others_come_out(node: Node, join: Join) -> None:
    """They are for apply(), which goes on when one fails."""
    await node.start()
    node.containers = [nri.Container(id="a"), nri.Container(id="c")]
    evict = [nri.ContainerEviction(container_id=id, reason="r") for id in ("gone", "c")]
    await join("10", "x", CreateContainer=answers(update=[update("a")], evict=evict))
    await join("20", "y", CreateContainer=answers(update=[update("gone")]))
    made = await node.plugins.create_container(POD, CONTAINER)
    assert [u.container_id for u in made.changes.updates] == ["a", "gone"]
    assert not node.updated
    await node.plugins.apply(made.changes)
    assert (node.updated, node.evicted) == (["a"], ["c"])


async def test_the_new_container_cannot_be_updated(node: Node, join: Join) -> None:
    await node.start()
    await join("10", "x", CreateContainer=answers(update=[update("new")]))
    with pytest.raises(CrishimError, match='plugin "10-x" asked update of "new" during creation'):
        await node.plugins.create_container(POD, CONTAINER)


async def test_validators_see_before_and_after(node: Node, join: Join) -> None:
    await node.start()
    await join("10", "x", events=CREATE, CreateContainer=answers(env(B="2"), update=[update("a")]))
    validator = await join("20", "v", events=VALIDATE)
    await node.plugins.create_container(POD, CONTAINER)
    (request,) = validator.of("ValidateContainerAdjustment")
    assert (request.pod, request.container) == (POD, CONTAINER)
    assert request.adjust == env(B="2")
    assert [u.container_id for u in request.update] == ["a"]
    assert [(p.index, p.name) for p in request.plugins] == [("10", "x"), ("20", "v")]
    assert request.owners.owners["new"].compound[fields.Env].owners["B"] == "10-x"
    assert request.owners.owners["a"].simple[fields.PidsLimit] == "10-x"


async def test_validators_are_asked_side_by_side_and_each_can_forbid(node: Node, join: Join) -> None:
    await node.start()
    both = asyncio.Barrier(2)

    async def passes(request: object) -> nri.ValidateContainerAdjustmentResponse:
        await both.wait()
        return nri.ValidateContainerAdjustmentResponse()

    async def rejects(request: object) -> nri.ValidateContainerAdjustmentResponse:
        await both.wait()
        return nri.ValidateContainerAdjustmentResponse(reject=True, reason="no X here")

    await join("10", "p", events=VALIDATE, ValidateContainerAdjustment=passes)
    await join("20", "r", events=VALIDATE, ValidateContainerAdjustment=rejects)
    with pytest.raises(CrishimError, match="NRI validator 20-r rejects container app: no X here") as caught:
        await node.plugins.create_container(POD, CONTAINER)
    assert caught.value.kind == Kind.DENIED


async def test_a_validator_that_fails_forbids(node: Node, join: Join) -> None:
    """An error, or no answer, which would do for any other event."""
    await node.start(request_timeout=0.2)

    def refuse(request: object) -> None:
        raise Refusal("I broke")

    async def hang(request: object) -> None:
        await asyncio.get_running_loop().create_future()

    await join("10", "v", events=VALIDATE, ValidateContainerAdjustment=hang)
    with pytest.raises(CrishimError, match="NRI validator 10-v rejects container app: it did not answer"):
        await node.plugins.create_container(POD, CONTAINER)
    await join("10", "w", events=VALIDATE, ValidateContainerAdjustment=refuse)
    with pytest.raises(CrishimError, match="10-w refused ValidateContainerAdjustment: I broke"):
        await node.plugins.create_container(POD, CONTAINER)


async def test_the_default_validator_needs_no_plugin(node: Node, join: Join) -> None:
    """It is asked with none connected, and knows all that are, whatever they subscribed to."""
    await node.start(validator=Validator(enable=True, required_plugins=("dra.net",)))
    with pytest.raises(CrishimError, match=r"rejects container app: required NRI plugin dra\.net not there") as caught:
        await node.plugins.create_container(POD, CONTAINER)
    assert caught.value.kind == Kind.DENIED
    await join("00", "dra.net", events=1)
    await node.plugins.create_container(POD, CONTAINER)


async def test_an_update_is_changed_by_one_after_the_other(node: Node, join: Join) -> None:
    await node.start()

    def own(**values: Any) -> Any:
        resources = nri.LinuxResources(**values)
        change = nri.ContainerUpdate(container_id="new", linux=nri.LinuxContainerUpdate(resources=resources))
        return lambda request: nri.UpdateContainerResponse(update=[change, update("other")])

    await join("10", "a", UpdateContainer=own(pids=nri.LinuxPids(limit=1)))
    second = await join("20", "b", UpdateContainer=lambda request: nri.UpdateContainerResponse())
    asked = nri.LinuxResources(cpu=nri.LinuxCPU(cpus="0-1"))
    made = await node.plugins.update_container(POD, CONTAINER, asked)
    assert made.resources == nri.LinuxResources(cpu=nri.LinuxCPU(cpus="0-1"), pids=nri.LinuxPids(limit=1))
    assert [u.container_id for u in made.changes.updates] == ["other"]
    assert second.of("UpdateContainer")[0].linux_resources == made.resources
    assert not asked.HasField("pids")


async def test_a_stop_brings_updates_and_never_an_error(node: Node, join: Join) -> None:
    await node.start()
    response = nri.StopContainerResponse(update=[update("other"), update("new"), nri.ContainerUpdate()])
    for index in ("10", "20"):
        await join(index, "x", StopContainer=lambda request: response)
    changes = await node.plugins.stop_container(POD, CONTAINER)
    assert [u.container_id for u in changes.updates] == ["other"]
