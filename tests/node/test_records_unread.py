"""Records this version cannot read, while what they stand for runs: it runs on, is listed, stopped and removed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crishim.linux import record_files
from crishim.operations.adopt import NOTE
from crishim.pb import cri_pb2 as cri
from tests.node.damaged_records import DAMAGE, labelled, listed, no_record_remains, record, restart
from tests.node.process_facts import info, is_gone
from tests.node.test_recovery import reboot
from tests.support.daemon import Daemon, assert_clean, eventually
from tests.support.isolation import ip
from tests.support.pods import (
    annotated,
    container_config,
    create,
    execute,
    pod_config,
    remove_pod,
    run_pod,
    start,
    status,
)

pytestmark = pytest.mark.node


def test_containers(daemon: Daemon) -> None:
    """Whatever became of its record, a container runs on, is listed as before with a note, and is used and removed."""
    pod = run_pod(daemon)
    ids = {
        kind: start(daemon, pod, container_config(f"c{i}", annotations={"a": kind}, labels=labelled(kind)))
        for i, kind in enumerate(DAMAGE)
    }
    waits = create(daemon, pod, container_config("waits"))
    pids = {kind: info(daemon, id)["pid"] for kind, id in ids.items()}
    before = listed(daemon)
    restart(
        daemon,
        {record(daemon, "containers", ids[kind]): hurt for kind, hurt in DAMAGE.items()}
        | {record(daemon, "containers", waits): DAMAGE["newer"]},
    )
    assert listed(daemon) == before
    for kind, id in ids.items():
        found = status(daemon, id)
        assert found.state == cri.CONTAINER_RUNNING, kind
        assert found.annotations[NOTE].startswith("managed by another version: its record "), kind
        assert found.message == found.annotations[NOTE]
        assert info(daemon, id)["pid"] == pids[kind], kind
        assert execute(daemon, id, "echo", kind) == (0, f"{kind}\n")
    assert status(daemon, waits).state == cri.CONTAINER_CREATED
    daemon.call("StartContainer", container_id=waits)
    assert execute(daemon, waits, "true")[0] == 0
    with pytest.raises(Exception, match="has its name"):
        create(daemon, pod, container_config("c0"))
    ended = ids["newer"]
    daemon.call("StopContainer", container_id=ended, timeout=5)
    assert (status(daemon, ended).state, status(daemon, ended).exit_code) == (cri.CONTAINER_EXITED, 3)
    restart(daemon, {})
    assert (status(daemon, ended).state, status(daemon, ended).exit_code) == (cri.CONTAINER_EXITED, 3)
    assert record(daemon, "containers", ended).exists()
    for id in ids.values():
        daemon.call("RemoveContainer", container_id=id)
    remove_pod(daemon, pod)
    no_record_remains(daemon)
    (daemon.state / f"{ids['link']}.json").unlink()


def test_pods(daemon: Daemon) -> None:
    """A pod whose record is unreadable stays READY with its address, takes containers, and gives all back."""
    before = daemon.left()
    configs = [pod_config(labels={"a": kind}, annotations={"b": kind}) for kind in DAMAGE]
    pods = {kind: run_pod(daemon, config) for kind, config in zip(DAMAGE, configs, strict=True)}
    containers = {kind: start(daemon, pods[kind]) for kind in ("newer", "empty", "link")}

    def networks() -> list[str]:
        return [str(daemon.call("PodSandboxStatus", pod_sandbox_id=id).status.network) for id in pods.values()]

    seen, given = listed(daemon), networks()
    restart(daemon, {record(daemon, "pods", pods[kind]): hurt for kind, hurt in DAMAGE.items()})
    assert listed(daemon) == seen
    assert networks() == given
    for kind, id in pods.items():
        found = daemon.call("PodSandboxStatus", pod_sandbox_id=id).status
        assert found.state == cri.SANDBOX_READY, kind
        assert found.annotations[NOTE].startswith("managed by another version: its record "), kind
    for id in containers.values():
        assert status(daemon, id).state == cri.CONTAINER_RUNNING
    second = start(daemon, pods["empty"], container_config("second"))
    assert execute(daemon, second, "true")[0] == 0
    for id in pods.values():
        remove_pod(daemon, id)
    no_record_remains(daemon)
    next(daemon.state.glob("*.json")).unlink()
    assert_clean(daemon, before)


def shared() -> cri.PodSandboxConfig:
    """A pod with everything that must be found again: a shared PID namespace, a host port, a device."""
    mappings = [cri.PortMapping(host_port=8097, container_port=80)]
    config = pod_config(annotations=annotated(bait0="net1"), port_mappings=mappings)
    config.linux.security_context.namespace_options.pid = cri.POD
    return config


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@pytest.mark.parametrize("copies", [True, False], ids=["copies", "no copies"])
def test_all_that_a_pod_has(daemon: Daemon, runtime: str, copies: bool) -> None:
    """Both records unreadable, and without the copies too, as of a version that made none: nothing is lost or left."""
    before = daemon.left()
    ip("link", "add", "bait0", "type", "ifb")
    config = shared()
    pod = run_pod(daemon, config, handler=runtime)
    container = start(
        daemon,
        pod,
        container_config("first", labels=labelled("first")),
    )
    pid = info(daemon, container)["pid"]
    if not copies:
        (daemon.run / "pods" / pod / record_files.COPY).unlink()
        (daemon.run / "containers" / container / record_files.COPY).unlink()
    restart(
        daemon, dict.fromkeys((record(daemon, "pods", pod), record(daemon, "containers", container)), DAMAGE["empty"])
    )
    found = daemon.call("ListPodSandbox").items[0]
    assert found.state == (cri.SANDBOX_READY if copies else cri.SANDBOX_NOTREADY)
    assert (found.metadata.name, found.metadata.uid) == (config.metadata.name, config.metadata.uid)
    assert (status(daemon, container).state, info(daemon, container)["pid"]) == (cri.CONTAINER_RUNNING, pid)
    assert status(daemon, container).metadata.name == "first"
    labels = status(daemon, container).labels
    assert labels["io.kubernetes.container.name"] == "first"
    assert labels["io.kubernetes.pod.uid"] == ("u" if copies else config.metadata.uid)
    assert execute(daemon, container, "ip", "link", "show", "net1")[0] == 0
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    assert is_gone(pid)
    assert "bait0" in ip("-br", "link")
    daemon.call("RemovePodSandbox", pod_sandbox_id=pod)
    no_record_remains(daemon)
    ip("link", "del", "bait0")
    assert_clean(daemon, before)


@pytest.mark.parametrize("kind", ["newer", "empty", "gone", "link"])
def test_devices(daemon: Daemon, kind: str) -> None:
    """Whatever became of its record: a device stays in its pod, known, and goes back as it was."""
    ip("link", "add", "baitv0", "type", "veth", "peer", "name", "baitv1")
    ip("address", "add", "192.0.2.9/24", "dev", "baitv0")
    try:
        before = ip("-d", "-br", "address", "show", "baitv0")
        pod = run_pod(daemon, pod_config(annotations=annotated(baitv0="net1")))
        container = start(daemon, pod)
        restart(daemon, dict.fromkeys((daemon.state / "netdev").iterdir(), DAMAGE[kind]))
        (device,) = daemon.call("ListNetDevices").devices
        assert (device.host_name, device.name, device.pod_sandbox_id) == ("baitv0", "net1", pod)
        assert device.state.startswith("ready")  # without carrier: its other end is down
        assert execute(daemon, container, "ip", "link", "show", "net1")[0] == 0
        restart(daemon, {})
        remove_pod(daemon, pod)
        assert ip("-d", "-br", "address", "show", "baitv0") == before
        no_record_remains(daemon)
        assert list((daemon.run / "netdev").iterdir()) == []
    finally:
        ip("link", "del", "baitv0")
        for path in daemon.state.glob("*.json"):
            path.unlink()


def test_nobody_knows_whose(daemon: Daemon) -> None:
    """Nothing says whose a container is: it runs on as UNKNOWN, and can be stopped and removed."""
    pod = run_pod(daemon)
    container = start(daemon, pod)
    pid = info(daemon, container)["pid"]
    bundle = daemon.run / "containers" / container
    for name in (record_files.COPY, "config.json", "conmon.pid", "pidfile"):
        (bundle / name).write_bytes(b"\0")
    restart(daemon, {record(daemon, "containers", container): DAMAGE["zeroes"]})
    found = status(daemon, container)
    assert (found.state, found.metadata.name) == (cri.CONTAINER_UNKNOWN, container[:13])
    assert not is_gone(pid)
    daemon.call("StopContainer", container_id=container, timeout=5)
    assert (status(daemon, container).state, status(daemon, container).exit_code) == (cri.CONTAINER_EXITED, 3)
    daemon.call("RemoveContainer", container_id=container)
    remove_pod(daemon, pod)
    no_record_remains(daemon)


def test_records_of_nothing(daemon: Daemon) -> None:
    """Files that are called like records and stand for nothing are shown as what has ended, and can be removed."""
    junk = [f"{number:064x}" for number in range(40)]
    daemon.kill()
    for id in junk:
        record(daemon, "pods", id).touch()
        record(daemon, "containers", id).touch()
    daemon.start()
    assert {p.state for p in daemon.call("ListPodSandbox").items} == {cri.SANDBOX_NOTREADY}
    assert {c.state for c in daemon.call("ListContainers").containers} == {cri.CONTAINER_EXITED}
    for name in ("ListPodSandboxStats", "ListContainerStats", "ListPodSandboxMetrics", "ListNetDevices"):
        daemon.call(name)
    daemon.call("PodSandboxStatus", pod_sandbox_id=junk[0], verbose=True)
    daemon.call("ContainerStatus", container_id=junk[0], verbose=True)
    for id in junk:
        daemon.call("RemoveContainer", container_id=id)
        daemon.call("RemovePodSandbox", pod_sandbox_id=id)
    no_record_remains(daemon)


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_text("[{")]
)
def test_records_of_images(daemon: Daemon, damage: Callable[[Path], object]) -> None:
    """Gone or damaged, they make no orphan of the layers that a container runs on."""
    pod = run_pod(daemon)
    container = start(daemon, pod)
    path = daemon.state / "images/overlay-images/images.json"
    good, mode = path.read_bytes(), path.stat().st_mode
    layers = {p.name for p in (daemon.state / "images/overlay").iterdir()}
    restart(daemon, {path: damage})
    try:
        assert status(daemon, container).state == cri.CONTAINER_RUNNING
        assert {p.name for p in (daemon.state / "images/overlay").iterdir()} == layers
        assert execute(daemon, container, "cat", "/proc/self/comm") == (0, "cat\n")
    finally:
        path.write_bytes(good)
        path.chmod(mode & 0o777)
    restart(daemon, {})
    remove_pod(daemon, pod)


def test_the_newer_version_comes_back(daemon: Daemon) -> None:
    """It finds its records byte for byte, whatever was done with the pod meanwhile, and takes over again."""
    pod = run_pod(daemon)
    stays, ends = start(daemon, pod), start(daemon, pod, container_config("ends"))
    paths = [record(daemon, "pods", pod), *(record(daemon, "containers", c) for c in (stays, ends))]
    own = [path.read_bytes() for path in paths]
    restart(daemon, dict.fromkeys(paths, DAMAGE["newer"]))
    theirs = [path.read_bytes() for path in paths]
    daemon.call("StopContainer", container_id=ends, timeout=5)
    third = start(daemon, pod, container_config("third"))
    daemon.call("UpdatePodSandboxResources", pod_sandbox_id=pod, overhead=cri.LinuxContainerResources(cpu_shares=2))
    daemon.stop()
    assert [path.read_bytes() for path in paths] == theirs
    for path, data in zip(paths, own, strict=True):  # what a newer version reads, this one does
        path.write_bytes(data)
    daemon.start()
    found = {c.id: c for c in daemon.call("ListContainers").containers}
    assert {id: c.state for id, c in found.items()} == {
        stays: cri.CONTAINER_RUNNING,
        ends: cri.CONTAINER_EXITED,
        third: cri.CONTAINER_RUNNING,
    }
    assert status(daemon, ends).exit_code == 3
    assert not any(NOTE in c.annotations for c in found.values())
    remove_pod(daemon, pod)
    no_record_remains(daemon)


def test_after_a_reboot(daemon: Daemon) -> None:
    """A pod whose record a power cut left empty: nothing of it is there but its address, which a removal frees."""
    pod = run_pod(daemon)
    container = start(daemon, pod)
    leases = daemon.directory / "ipam/test"
    assert list(leases.glob("10.*"))
    daemon.call("StopContainer", container_id=container, timeout=0)
    daemon.kill()
    reboot(daemon)
    for path in (record(daemon, "pods", pod), record(daemon, "containers", container)):
        path.write_bytes(b"")
    daemon.start()
    (found,) = daemon.call("ListPodSandbox").items
    assert (found.id, found.state) == (pod, cri.SANDBOX_NOTREADY)
    (ended,) = daemon.call("ListContainers").containers
    assert (ended.id, ended.state) == (container, cri.CONTAINER_EXITED)
    daemon.call("RemoveContainer", container_id=container)
    remove_pod(daemon, pod)
    eventually(lambda: not list(leases.glob("10.*")), "the address is free")
    no_record_remains(daemon)
