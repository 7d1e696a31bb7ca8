"""A real daemon tells real NRI plugins of pods and containers: each event at its moment, once, after kill -9 too."""

import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon, eventually
from tests.support.daemon import test_program as program
from tests.support.go_plugin import GoPlugins
from tests.support.pods import container_config, create, pod_config, remove_pod, run_pod, start, wait_exited

pytestmark = pytest.mark.node
CREATE = "CreateContainer"
LIFE = [
    CREATE,
    "ValidateContainerAdjustment",
    "PostCreateContainer",
    "StartContainer",
    "PostStartContainer",
    "StopContainer",
]


@pytest.fixture(params=["crun", "runc"])
def handler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_one_pod(daemon: Daemon, plugins: GoPlugins, handler: str) -> None:
    """All events of a pod and a container, in order, with what plugins rely on in each."""
    plugins.join()
    pod = run_pod(daemon, pod_config("web", labels={"a": "1"}), handler)
    container = start(daemon, pod, container_config("app", envs=[cri.KeyValue(key="A", value=b"1")]))
    daemon.call("UpdateContainerResources", container_id=container, linux={"cpu_shares": 200})
    daemon.call("StopContainer", container_id=container, timeout=0)
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    daemon.call("RemovePodSandbox", pod_sandbox_id=pod)
    assert plugins.events(pod) == ["RunPodSandbox", "StopPodSandbox", "RemovePodSandbox"]
    updates = ["UpdateContainer", "PostUpdateContainer"]
    assert plugins.events(container) == [*LIFE[:5], *updates, LIFE[5], "RemoveContainer"]
    assert plugins.events().index("StopContainer") < plugins.events().index("StopPodSandbox")
    assert plugins.events() == recorded()
    told = plugins.told("RunPodSandbox")[0]["pod"]
    assert (told["name"], told["namespace"], told["uid"], told["labels"]) == ("web", "test", "uid-web", {"a": "1"})
    assert told["ips"][0].startswith("10.231.")
    assert told["runtime_handler"] == handler
    assert {n["type"] for n in told["linux"]["namespaces"]} >= {"network", "ipc", "uts"}
    created = plugins.told("CreateContainer")[0]["container"]
    assert "A=1" in created["env"]
    assert created["args"]
    assert plugins.told("UpdateContainer")[0]["container"]["pid"] > 0
    assert plugins.told("StopContainer")[0]["container"]["state"] == "CONTAINER_STOPPED"


def test_the_network_is_there_when_a_pod_runs_and_stops(daemon: Daemon, plugins: GoPlugins) -> None:
    """In both events the namespace can be entered, and eth0 is in it; the pod's cgroup is there at the first."""
    plugins.join(RunPodSandbox={"sleep": "500ms"}, StopPodSandbox={"sleep": "500ms"})
    seen: dict[str, str] = {}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: seen.setdefault("id", run_pod(daemon)))
        path = namespace(plugins, "RunPodSandbox")
        assert "10.231." in inside(path)
        pod = plugins.told("RunPodSandbox")[0]["pod"]
        assert any(Path("/sys/fs/cgroup").glob(f"*{pod['linux']['cgroups_path']}"))
        assert pod["id"] not in {p.id for p in daemon.call("ListPodSandbox").items}
        with pytest.raises(grpc.RpcError):
            create(daemon, pod["id"])
    running.result()
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(lambda: daemon.call("StopPodSandbox", pod_sandbox_id=seen["id"]))
        assert "10.231." in inside(namespace(plugins, "StopPodSandbox"))
        assert daemon.call("PodSandboxStatus", pod_sandbox_id=seen["id"]).status.id == seen["id"]
    stopping.result()
    remove_pod(daemon, seen["id"])


def test_an_end_by_itself_is_told(daemon: Daemon, plugins: GoPlugins, handler: str) -> None:
    """Once, without a call; with the exit code."""
    plugins.join()
    pod = run_pod(daemon, handler=handler)
    container = start(daemon, pod, container_config(command=["sh", "-c", "exit 3"]))
    wait_exited(daemon, container)
    eventually(lambda: plugins.events(container) == LIFE, "StopContainer")
    assert plugins.told("StopContainer")[0]["container"]["exit_code"] == 3
    remove_pod(daemon, pod)
    assert plugins.events(container) == [*LIFE, "RemoveContainer"]


def test_refusals(daemon: Daemon, plugins: GoPlugins) -> None:
    """Fail the call with the plugin's words, are told on as the end, and leave nothing; a repetition works."""
    no = {"refuse": "not now", "times": 1}
    plugins.join(RunPodSandbox=no, CreateContainer=no)
    config = pod_config("refused")
    with pytest.raises(grpc.RpcError, match="NRI plugin 10-go refused RunPodSandbox: not now"):
        run_pod(daemon, config)
    assert plugins.events() == ["RunPodSandbox", "StopPodSandbox", "RemovePodSandbox"]
    pod = run_pod(daemon, config)
    with pytest.raises(grpc.RpcError, match="NRI plugin 10-go refused CreateContainer: not now"):
        create(daemon, pod)
    assert plugins.events()[-3:] == ["CreateContainer", "StopContainer", "RemoveContainer"]
    assert not daemon.call("ListContainers").containers
    create(daemon, pod)
    remove_pod(daemon, pod)


def test_a_late_plugin_is_synchronized(daemon: Daemon, plugins: GoPlugins) -> None:
    """With the pods there are and the containers that run; a container made while it is being told is no loss."""
    pod = run_pod(daemon)
    ended = start(daemon, pod, container_config("ended", command=["true"]))
    wait_exited(daemon, ended)
    running = start(daemon, pod, container_config("runs"))
    plugins.join(Synchronize={"sleep": "1s"}, wait=False)
    eventually(lambda: plugins.told("Synchronize"), "Synchronize")
    made = create(daemon, pod, container_config("made"))
    plugins.ready("10-go")
    (line,) = plugins.told("Synchronize")
    assert (line["pods"], line["containers"]) == ([pod], [running])
    assert plugins.events(made)[:3] == LIFE[:3]
    remove_pod(daemon, pod)


def test_a_killed_daemon_goes_on_telling(daemon: Daemon, plugins: GoPlugins) -> None:
    """Of pods and containers from before; what ended meanwhile was told, or was not in the set."""
    plugins.join("-reconnect")
    pod = run_pod(daemon)
    lives, dies = start(daemon, pod), start(daemon, pod, container_config("dies"))
    pid = next(line["container"]["pid"] for line in plugins.told("PostStartContainer")
               if line["container"]["id"] == dies)  # fmt: skip
    daemon.kill()
    os.kill(pid, signal.SIGKILL)
    plugins.clear()
    daemon.start()
    plugins.ready("10-go")
    wait_exited(daemon, dies)
    (line,) = plugins.told("Synchronize")
    assert line["pods"] == [pod]
    assert lives in line["containers"]
    if dies in line["containers"]:
        eventually(lambda: plugins.events(dies) == ["StopContainer"], "the end of one that was in the set")
    remove_pod(daemon, pod)
    assert plugins.events(pod) == ["StopPodSandbox", "RemovePodSandbox"]
    assert plugins.events(lives) == ["StopContainer", "RemoveContainer"]


def test_killed_while_a_plugin_is_told(daemon: Daemon, plugins: GoPlugins) -> None:
    """A launched plugin of the next daemon is told that the pod is not to be; nothing of it is left."""
    plugins.join(RunPodSandbox={"sleep": "1h"})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_pod, daemon)
        eventually(lambda: plugins.told("RunPodSandbox"), "RunPodSandbox")
        daemon.kill()
    with pytest.raises(grpc.RpcError):
        running.result()
    plugins.end()
    (id,) = {line["pod"]["id"] for line in plugins.told("RunPodSandbox")}
    launched(daemon, plugins)
    plugins.clear()
    try:
        daemon.start()
        assert plugins.events(id) == ["StopPodSandbox", "RemovePodSandbox"]
        assert not daemon.call("ListPodSandbox").items
    finally:
        unlaunched(daemon)


def recorded() -> list[str]:
    """The events of the run that docs/nri.md shows."""
    page = (Path(__file__).parents[2] / "docs/nri.md").read_text()
    return re.findall(r"^ *[0-9.]+ ms  (\w+)", page.partition("```text\n")[2].partition("```")[0], re.MULTILINE)


def launched(daemon: Daemon, plugins: GoPlugins, **hooks: object) -> None:
    """From the next start on a plugin is launched by the daemon."""
    for name in ("nri-plugins", "nri-conf"):
        (daemon.directory / name).mkdir(mode=0o700, exist_ok=True)
    (daemon.directory / "nri-plugins/00-launched").symlink_to(program("nri-plugin"))
    (daemon.directory / "nri-conf/launched.conf").write_text(plugins.scenario(dict(hooks)))


def unlaunched(daemon: Daemon) -> None:
    for name in ("nri-plugins/00-launched", "nri-conf/launched.conf"):
        (daemon.directory / name).unlink()
    for name in ("nri-plugins", "nri-conf"):
        (daemon.directory / name).rmdir()
    daemon.stop()
    daemon.start()


def inside(path: str) -> str:
    """eth0 in a network namespace."""
    command = ["nsenter", f"--net={path}", "ip", "addr", "show", "eth0"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def namespace(plugins: GoPlugins, event: str) -> str:
    eventually(lambda: plugins.told(event), event)
    spaces = plugins.told(event)[0]["pod"]["linux"]["namespaces"]
    return str(next(n["path"] for n in spaces if n["type"] == "network"))
