"""The CNI contract, seen by a plugin that writes down how it was called; plugins that misbehave; and a real port."""

import json

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.cni_recorder import Network, ready
from tests.node.cni_recorder import network as network
from tests.node.cni_recorder import node as node
from tests.node.refusals import refused
from tests.support.daemon import assert_clean
from tests.support.pods import pod_config, remove_pod, run_pod

pytestmark = pytest.mark.node


@pytest.mark.fact("StopPodSandbox")
def test_the_chain(network: Network) -> None:
    """ADD in order with prevResult handed on; DEL in reverse with the cached result; name, ids, CNI_ARGS."""
    daemon, config = network.daemon, pod_config("chained")
    pod = run_pod(daemon, config)
    assert daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status.network.ip == "10.99.0.2"
    first, second = network.calls()
    assert [(c["command"], c["plugin"]) for c in (first, second)] == [("ADD", "one"), ("ADD", "two")]
    netns = f"{daemon.run}/pods/{pod}/ns/net"
    for call in (first, second):
        assert (call["id"], call["netns"], call["ifname"]) == (pod, netns, "eth0")
        assert call["path"].split(":")[0] == str(daemon.plugins)
        assert dict(p.split("=") for p in call["args"].split(";")) == {
            "IgnoreUnknown": "1",
            "K8S_POD_NAMESPACE": "test",
            "K8S_POD_NAME": "chained",
            "K8S_POD_INFRA_CONTAINER_ID": pod,
            "K8S_POD_UID": "uid-chained",
        }
        assert (call["config"]["name"], call["config"]["cniVersion"]) == ("rec", "1.0.0")
        assert "capabilities" not in call["config"]
        assert "runtimeConfig" not in call["config"]
    assert first["config"]["own"] == {"key": 1}
    assert "prevResult" not in first["config"]
    assert second["config"]["prevResult"]["ips"][0]["address"] == "10.99.0.1/24"
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    gone = network.calls()
    assert [(c["command"], c["plugin"]) for c in gone] == [("DEL", "two"), ("DEL", "one")]
    for call in gone:
        assert call["config"]["prevResult"]["ips"][0]["address"] == "10.99.0.2/24"
        assert (call["id"], call["netns"]) == (pod, netns)
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    daemon.call("RemovePodSandbox", pod_sandbox_id=pod)
    assert network.calls() == []


def test_runtime_config_for_declared_capabilities_only(network: Network) -> None:
    """portMappings without host_port 0, dns, ipRanges and bandwidth go to the plugin that declares them; mac is off."""
    daemon = network.daemon
    daemon.call("UpdateRuntimeConfig", runtime_config={"network_config": {"pod_cidr": "10.99.0.0/24,fd99::/64"}})
    daemon.call("UpdateRuntimeConfig", runtime_config={"network_config": {"pod_cidr": ""}})
    config = pod_config(
        port_mappings=[
            cri.PortMapping(host_port=0, container_port=81),
            cri.PortMapping(host_port=8080, container_port=80, protocol=cri.UDP, host_ip="127.0.0.1"),
        ],
        dns_config=cri.DNSConfig(servers=["10.0.0.10"], searches=["a.b", "b"], options=["ndots:5"]),
        annotations={"kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "1.5Gi"},
    )
    pod = run_pod(daemon, config)
    wanted = {
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": "127.0.0.1"}],
        "bandwidth": {
            "ingressRate": 10_000_000,
            "ingressBurst": 2**31 - 1,
            "egressRate": int(1.5 * 2**30),
            "egressBurst": 2**31 - 1,
        },
        "ipRanges": [[{"subnet": "10.99.0.0/24"}], [{"subnet": "fd99::/64"}]],
        "dns": {"servers": ["10.0.0.10"], "searches": ["a.b", "b"], "options": ["ndots:5"]},
    }
    first, second = network.calls()
    assert "runtimeConfig" not in first["config"]
    assert second["config"]["runtimeConfig"] == wanted
    daemon.kill()  # DEL gets the same after a restart
    daemon.start()
    remove_pod(daemon, pod)
    assert network.calls()[0]["config"]["runtimeConfig"] == wanted
    assert refused(daemon.call, "UpdateRuntimeConfig", runtime_config={"network_config": {"pod_cidr": "ten"}}) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "pod_cidr 'ten' is not a network",
    )


def test_del_uses_the_configuration_of_add(network: Network) -> None:
    """The configuration directory changed, or emptied, meanwhile: DEL goes to the plugins that did ADD."""
    daemon = network.daemon
    pod = run_pod(daemon)
    network.calls()
    for path in daemon.cni.iterdir():
        path.unlink()
    remove_pod(daemon, pod)
    assert [(c["command"], c["plugin"]) for c in network.calls()] == [("DEL", "two"), ("DEL", "one")]


def test_check_is_for_those_who_ask(network: Network) -> None:
    """`crishim pod check` runs CHECK with the cached result and passes on what a plugin finds wrong; no status does."""
    daemon = network.daemon
    pod = run_pod(daemon)
    network.calls()

    def checked() -> list[str]:
        (answer,) = daemon.call("CheckPods", pod_sandbox_id=pod).pods
        return [each.error for each in answer.answers]

    daemon.call("PodSandboxStatus", pod_sandbox_id=pod, verbose=True)
    assert network.calls() == []
    assert checked() == ["", ""]
    calls = network.calls()
    assert [(c["command"], c["plugin"]) for c in calls] == [("CHECK", "one"), ("CHECK", "two")]
    assert all(c["config"]["prevResult"]["ips"][0]["address"] == "10.99.0.2/24" for c in calls)
    network.misbehave("two", "CHECK", """echo '{"code": 7, "msg": "the rule is gone"}'; exit 1""")
    assert checked() == ["", "CNI plugin two failed to CHECK: the rule is gone"]
    network.misbehave("two", "CHECK", "sleep 600")
    assert "two did not finish within 2 s" in str(checked())
    network.configure(disableCheck=True)
    network.calls()
    assert "did not finish" in str(checked())  # the pod's own configuration counts
    network.behave()
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    assert refused(daemon.call, "CheckPods", pod_sandbox_id=pod)[0] == grpc.StatusCode.FAILED_PRECONDITION
    remove_pod(daemon, pod)


def test_status_asks_plugins(network: Network) -> None:
    """From version 1.1.0 on NetworkReady is what the plugins' STATUS says."""
    network.configure(cniVersion="1.1.0")
    assert ready(network.daemon) == (True, "")
    assert {(c["command"], c["plugin"], c["netns"]) for c in network.calls()} == {
        ("STATUS", "one", ""),
        ("STATUS", "two", ""),
    }
    network.misbehave("two", "STATUS", """echo '{"code": 50, "msg": "the uplink is down"}'; exit 1""")
    ok, message = ready(network.daemon)
    assert not ok
    assert "the uplink is down" in message


SPOILED = {
    "fails": ('echo \'{"code": 7, "msg": "no more addresses", "details": "10.99.0.0/24"}\'; exit 1', "INTERNAL"),
    "try later": ('echo \'{"code": 11, "msg": "no more addresses"}\'; exit 1', "UNAVAILABLE"),
    "only stderr": ("echo no more addresses >&2; exit 3", "INTERNAL"),
    "garbage": ("echo '<no more addresses>'; exit 0", "INTERNAL"),
    "garbage and failure": ("echo '<no more addresses>'; exit 1", "INTERNAL"),
    "nothing": ("exit 0", "INTERNAL"),
    "no object": ("echo '[\"no more addresses\"]'; exit 0", "INTERNAL"),
    "killed": ("kill -9 $$", "INTERNAL"),
    "hangs": ("sleep 60", "DEADLINE_EXCEEDED"),
}


@pytest.mark.fact("RunPodSandbox")
@pytest.mark.parametrize("how", SPOILED)
def test_add_goes_wrong(network: Network, how: str) -> None:
    """The text names the plugin and has its words; every plugin gets its DEL, without a result; nothing is left."""
    daemon = network.daemon
    before = daemon.left()
    script, code = SPOILED[how]
    network.misbehave("two", "ADD", script)
    config = pod_config()
    found, text = refused(run_pod, daemon, config)
    assert found.name == code
    assert "two" in text
    if "no more addresses" in script and how != "garbage" and how != "no object":
        assert "no more addresses" in text
    calls = network.calls()
    assert [(c["command"], c["plugin"]) for c in calls] == [
        ("ADD", "one"),
        ("ADD", "two"),
        ("DEL", "two"),
        ("DEL", "one"),
    ]
    assert all("prevResult" not in c["config"] for c in calls[2:])
    network.behave()
    assert_clean(daemon, before | {"files": before["files"]})
    assert not daemon.call("ListPodSandbox").items
    remove_pod(daemon, run_pod(daemon, config))


@pytest.mark.fact("StopPodSandbox")
@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_del_goes_wrong(network: Network, how: str) -> None:
    """StopPodSandbox errors, the pod is NOTREADY, Remove errors; once the plugin works again a retry succeeds."""
    daemon = network.daemon
    pod = run_pod(daemon)
    script, code = SPOILED[how]
    network.misbehave("two", "DEL", script)
    found, text = refused(daemon.call, "StopPodSandbox", pod_sandbox_id=pod)
    assert (found.name, "two" in text) == (code, True)
    answer = daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status
    assert answer.state == cri.SANDBOX_NOTREADY
    assert refused(daemon.call, "RemovePodSandbox", pod_sandbox_id=pod)[0].name == code
    assert [p.id for p in daemon.call("ListPodSandbox").items] == [pod]
    network.behave()
    network.calls()
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    assert [(c["command"], c["plugin"], c["netns"]) for c in network.calls()] == [
        ("DEL", "two", f"{daemon.run}/pods/{pod}/ns/net"),
        ("DEL", "one", f"{daemon.run}/pods/{pod}/ns/net"),
    ]
    daemon.call("RemovePodSandbox", pod_sandbox_id=pod)


def test_a_stop_that_failed_is_tried_at_the_next_start(network: Network) -> None:
    """A pod whose DEL failed is finished by the next daemon if the plugin works by then; if not, it serves as well."""
    daemon = network.daemon
    pod = run_pod(daemon)
    network.misbehave("one", "DEL", "exit 1")
    refused(daemon.call, "StopPodSandbox", pod_sandbox_id=pod)
    daemon.kill()
    daemon.start()
    assert [p.state for p in daemon.call("ListPodSandbox").items] == [cri.SANDBOX_NOTREADY]
    network.behave()
    network.calls()
    daemon.kill()
    daemon.start()
    assert [(c["command"], c["plugin"]) for c in network.calls()] == [("DEL", "two"), ("DEL", "one")]
    daemon.call("RemovePodSandbox", pod_sandbox_id=pod)
    assert network.calls() == []


@pytest.mark.fact("RunPodSandbox")
def test_add_and_del_go_wrong(network: Network) -> None:
    """A failed ADD whose DEL fails too leaves a NOTREADY pod, which can be stopped and removed once DEL works."""
    daemon = network.daemon
    network.misbehave("two", "ADD", "echo first trouble >&2; exit 1")
    network.misbehave("two", "DEL", "echo second trouble >&2; exit 1")
    code, text = refused(run_pod, daemon)
    assert (code, "first trouble" in text) == (grpc.StatusCode.INTERNAL, True)
    (pod,) = daemon.call("ListPodSandbox").items
    assert pod.state == cri.SANDBOX_NOTREADY
    assert refused(daemon.call, "RemovePodSandbox", pod_sandbox_id=pod.id)[0] == grpc.StatusCode.INTERNAL
    network.behave()
    remove_pod(daemon, pod.id)


def test_a_plugin_that_is_missing(network: Network) -> None:
    """NetworkReady=false and RunPodSandbox name the plugin, before anything is made."""
    daemon = network.daemon
    (daemon.plugins / "two").unlink()
    ok, message = ready(daemon)
    assert (ok, "no CNI plugin two" in message) == (False, True)
    code, text = refused(run_pod, daemon)
    assert (code, "no CNI plugin two" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    assert network.calls() == []


def test_configurations_come_and_go(network: Network) -> None:
    """No configuration: NetworkReady=false says so, host-network pods run; a file dropped in counts without a restart;
    the newest wins; a broken newest one, a dangling link and a foreign file are passed over."""
    daemon = network.daemon
    for path in daemon.cni.iterdir():
        path.unlink()
    ok, message = ready(daemon)
    assert (ok, f"no CNI configuration in {daemon.cni}" in message) == (False, True)
    assert refused(run_pod, daemon)[0] == grpc.StatusCode.UNAVAILABLE
    config = pod_config()
    config.linux.security_context.namespace_options.network = cri.NODE
    remove_pod(daemon, run_pod(daemon, config))
    network.configure()
    assert ready(daemon) == (True, "")

    def used() -> str:
        network.calls()
        remove_pod(daemon, run_pod(daemon))
        return str(network.calls()[0]["config"]["name"])

    assert used() == "rec"
    (daemon.cni / "05-new.conf").write_text(json.dumps({"cniVersion": "1.0.0", "name": "single", "type": "one"}))
    assert used() == "single"
    (daemon.cni / "99-broken.conflist").write_text('{"name": "broken", "plugins": [')
    (daemon.cni / "98-dangling.conflist").symlink_to("/no/such/file")
    (daemon.cni / "97-readme.txt").write_text("not a configuration")
    (daemon.cni / "96-directory.conf").mkdir()
    assert ready(daemon) == (True, "")
    assert used() == "single"
    assert any("99-broken" in str(line.get("path")) for line in daemon.logged() if line["level"] == "warning")
    (daemon.cni / "05-new.conf").unlink()
    assert used() == "rec"
    (daemon.cni / "10-test.conflist").unlink()
    (daemon.cni / "96-directory.conf").rmdir()
    ok, message = ready(daemon)
    assert not ok
    assert "99-broken.conflist" in message
    for path in daemon.cni.iterdir():
        path.unlink()
