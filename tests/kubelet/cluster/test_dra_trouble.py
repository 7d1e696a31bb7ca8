"""Claims when something restarts, comes twice or cannot be had."""

from typing import Any

import grpc
import pytest

from tests.kubelet.cluster.claims import (
    BEFORE,
    DRIVER,
    attribute,
    claim,
    claiming,
    described,
    devices,
    make_link,
    request,
)
from tests.kubelet.cluster.objects import container, put, ready, run, told
from tests.support.isolation import remove_link
from tests.support.kubelet.cluster import Cluster
from tests.support.kubelet.control_plane import patiently

pytestmark = pytest.mark.node
DEV0 = f'{attribute("interface")} == "dev0"'


def has_device(cluster: Cluster, pod: str) -> bool:
    shown = cluster.kubectl("exec", pod, "--", "ip", "addr", "show", "net1", check=False)
    return "192.0.2.7/24" in shown and "2001:db8::7/64" in shown and ",UP" in shown


def test_the_driver_restarts(claims: Cluster) -> None:
    """What a pod holds stays published and prepared; a pod deleted meanwhile ends; the next claim has the device."""
    claim(claims, "kept", request(DEV0))
    run(claims, "kept", claiming("kept"))
    published = devices(claims)
    claims.stop_driver()
    claims.start_driver("dev[0-9]")
    patiently(lambda: devices(claims) == published, "the slice is the same", 60)
    assert has_device(claims, "kept")
    claims.stop_driver()
    claims.kubectl("delete", "pod", "kept", "--wait=false")
    patiently(lambda: described_or_none("dev0") == BEFORE["dev0"], "the runtime gives it back without the driver", 60)
    claims.start_driver("dev[0-9]")
    claims.kubectl("wait", "--for=delete", "pod/kept", "--timeout=150s")
    claim(claims, "next", request(DEV0))
    claims.kubectl("delete", "resourceclaim", "kept", "--wait")
    run(claims, "next", claiming("next"))
    assert has_device(claims, "next")


def described_or_none(name: str) -> tuple[str, int, set[str]] | None:
    try:
        return described(name)
    except AssertionError:
        return None


def test_kubelet_and_runtime_restart(claims: Cluster) -> None:
    """A pod keeps its device while the kubelet, the runtime, and both are restarted; a later container has it."""
    claim(claims, "stays", request(DEV0))
    run(claims, "stays", claiming("stays"))
    before = container(claims, "stays")
    claims.kubelet.stop()
    claims.kubelet.start()
    claims.daemon.kill()
    claims.daemon.start()
    claims.kubelet.kill()
    claims.daemon.stop()
    claims.daemon.start()
    claims.kubelet.start()
    patiently(lambda: has_device(claims, "stays"), "exec answers again", 100)
    patiently(claims.joined, "the node is Ready", 100)
    after = container(claims, "stays")
    assert (after["restartCount"], after["containerID"]) == (0, before["containerID"])
    claims.kubectl("exec", "stays", "--", "kill", "1", check=False)  # it may end with the container

    def again() -> bool:
        found = container(claims, "stays")
        return bool(found.get("restartCount") == 1 and found["ready"])

    patiently(again, "the container is restarted", 100)
    assert has_device(claims, "stays")


def test_calls_that_come_again(claims: Cluster) -> None:
    """NodePrepareResources of a prepared claim says the same; NodeUnprepareResources of one that is gone succeeds."""
    claim(claims, "again", request(DEV0))
    run(claims, "again", claiming("again"))
    uid = claims.kubectl("get", "resourceclaim", "again", "-o", "jsonpath={.metadata.uid}")
    path = claims.daemon.directory / "cdi" / f"{DRIVER}-{uid}.json"
    written = path.read_bytes()
    protos: Any
    protos, services = grpc.protos_and_services("hack/dra/dra.proto")
    known = {"claims": [protos.Claim(namespace="default", name="again", uid=uid)]}
    with grpc.insecure_channel(f"unix:{claims.kubelet.root}/plugins/{DRIVER}/dra.sock") as channel:
        stub = services.DRAPluginStub(channel)
        prepared = stub.NodePrepareResources(protos.NodePrepareResourcesRequest(**known), timeout=60).claims[uid]
        assert not prepared.error
        assert [(d.device_name, list(d.cdi_device_ids)) for d in prepared.devices] == [
            ("dev0", [f"{DRIVER}/claim={uid}-dev0"])
        ]
        assert path.read_bytes() == written
        other = {"claims": [protos.Claim(namespace="default", name="again", uid="another")]}
        answer = stub.NodePrepareResources(protos.NodePrepareResourcesRequest(**other), timeout=60).claims["another"]
        assert "another claim" in answer.error
        assert has_device(claims, "again")
        claims.kubectl("delete", "pod", "again", "--wait")
        for _ in range(2):
            answer = stub.NodeUnprepareResources(protos.NodeUnprepareResourcesRequest(**known), timeout=60)
            assert not answer.claims[uid].error
    assert not path.exists()


def test_one_name_for_two_devices(claims: Cluster) -> None:
    """Two claims of a pod that both want to be net1: an event names it; both links stay on the host as they were."""
    for name, device in (("one", "dev0"), ("two", "dev1")):
        claim(claims, name, request(f'{attribute("interface")} == "{device}"', interface="net1"))
    put(claims, "clash", claiming("one", "two"))
    text = told(claims, "clash", "net1", "dev0", "dev1", reason="Failed")
    assert "net1" in text
    assert {name: described(name) for name in BEFORE} == BEFORE
    assert claims.joined()


def test_one_device_twice(claims: Cluster) -> None:
    """A claim with administrator's access to a device the pod has already: an event names it; the node stays Ready."""
    claims.kubectl("label", "namespace", "default", "resource.kubernetes.io/admin-access=true", "--overwrite")
    claim(claims, "plain", request(DEV0))
    claim(claims, "admin", request(DEV0, adminAccess=True))
    put(claims, "twice", claiming("plain", "admin"))
    told(claims, "twice", "device dev0", "two names", reason="Failed")
    assert {name: described(name) for name in BEFORE} == BEFORE
    assert claims.joined()


def test_one_claim_under_two_names(claims: Cluster) -> None:
    """A pod that lists one claim twice waits in the scheduler, which says so; the claim alone serves another pod."""
    claim(claims, "single", request(DEV0))
    put(claims, "double", claiming("single", "single"))
    told(claims, "double", "cannot allocate all claims")
    claims.kubectl("delete", "pod", "double", "--wait")
    run(claims, "once", claiming("single"))
    assert has_device(claims, "once")


def test_a_link_that_is_gone(claims: Cluster) -> None:
    """A claim for a link that vanished: an event names the link; when it is there again, the pod starts."""
    try:
        make_link("dev2", 2, 1300)
        patiently(lambda: "dev2" in devices(claims), "the new link is published", 60)
        claims.stop_driver()
        claim(claims, "gone", request(f'{attribute("interface")} == "dev2"'))
        put(claims, "gone", claiming("gone"))
        told(claims, "gone", DRIVER, reason="FailedPrepareDynamicResources")
        remove_link("dev2")
        claims.start_driver("dev[0-9]")
        told(claims, "gone", "the link dev2 is not on this node any more", reason="FailedPrepareDynamicResources")
        make_link("dev2", 2, 1300)
        ready(claims, "gone")
        assert "192.0.2.9/24" in claims.kubectl("exec", "gone", "--", "ip", "addr", "show", "net1")
        claims.kubectl("delete", "pod", "gone", "--wait")
        patiently(lambda: described_or_none("dev2"), "it is back", 60)
    finally:
        remove_link("dev2")
