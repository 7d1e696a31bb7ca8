"""The daemon's log: JSON lines with the ids of what they are about, errors once, and never a secret."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon, eventually, scratch_daemon
from tests.support.image_node import tar_files
from tests.support.pods import container_config, create, execute, pod_config, remove_pod, run_pod, status, wait_exited
from tests.support.registry import PASSWORD, USER, Registry
from tests.support.registry import locked_registry as locked_registry
from tests.support.registry import registry as registry
from tests.support.registry import registry_files as registry_files

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node(busybox_archive: Path, locked_registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that knows the registry with a password."""
    conf = tmp_path_factory.mktemp("conf") / "registries.conf"
    conf.write_text(f'[[registry]]\nlocation = "{locked_registry}"\ninsecure = true\n')
    with scratch_daemon(images={"registries_conf": str(conf)}) as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        yield daemon


class Listener:
    """The lines of a test."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._start = daemon.log.stat().st_size

    def text(self) -> str:
        self._daemon.catch_up()
        return self._daemon.log.read_bytes()[self._start :].decode()

    def lines(self, rpc: str = "") -> list[dict[str, Any]]:
        """Every line is JSON; those of one RPC."""
        found = [json.loads(line) for line in self.text().splitlines()]
        return [line for line in found if not rpc or line.get("rpc") == rpc]


@pytest.fixture
def log(daemon: Daemon) -> Listener:
    return Listener(daemon)


def test_lines_of_a_call_carry_its_ids(daemon: Daemon, log: Listener) -> None:
    """Each line of an RPC names it with its pod and container, as soon as there are such; times and levels too."""
    pod = run_pod(daemon)
    container = create(daemon, pod)
    daemon.call("StartContainer", container_id=container)
    execute(daemon, container, "true")
    daemon.call("StopContainer", container_id=container, timeout=0)
    eventually(lambda: any("conmon" not in str(c) for c in log.lines()), "it logs")
    daemon.call("RemoveContainer", container_id=container)
    daemon.call("StopPodSandbox", pod_sandbox_id=pod)
    daemon.call("RemovePodSandbox", pod_sandbox_id=pod)
    for line in log.lines():
        assert {"time", "level", "logger", "message"} <= line.keys()
        assert line["time"].endswith("+00:00")
    for rpc in ("RunPodSandbox", "StopPodSandbox", "RemovePodSandbox"):
        found = log.lines(rpc)
        assert found
        assert {line.get("pod") for line in found} == {pod}, rpc
        assert {line.get("container") for line in found} <= {None, container}, rpc
    for rpc in ("CreateContainer", "StartContainer", "ExecSync", "StopContainer", "RemoveContainer"):
        found = log.lines(rpc)
        assert found, rpc
        assert {(line.get("pod"), line.get("container")) for line in found} == {(pod, container)}, rpc


def test_an_error_is_logged_once(daemon: Daemon, log: Listener) -> None:
    """A refused call leaves one warning with its text, kind and ids; a question for what is not there leaves none."""
    pod = run_pod(daemon)
    config = container_config()
    config.linux.security_context.run_as_username = "nobody-here"
    with pytest.raises(grpc.RpcError) as caught:
        create(daemon, pod, config)
    (line,) = [line for line in log.lines() if line["message"] == caught.value.details()]
    assert (line["level"], line["kind"], line["rpc"], line["pod"]) == ("warning", "not found", "CreateContainer", pod)
    with pytest.raises(grpc.RpcError):
        daemon.call("ContainerStatus", container_id="beef" * 16)
    assert not [line for line in log.lines("ContainerStatus") if line["level"] != "debug"]
    remove_pod(daemon, pod)


@pytest.mark.fact("PullImage")
def test_no_secret_reaches_the_log(daemon: Daemon, log: Listener, registry: Registry, locked_registry: str) -> None:
    """Pulls with right and wrong credentials in each form, environment, annotations: none of it is logged at debug."""
    registry.push(["test/secret:1"], [tar_files({"f": b"x"})])
    image = cri.ImageSpec(image=f"{locked_registry}/test/secret:1")
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    wrong = "wrong-password-7f3a"
    for auth in (
        cri.AuthConfig(username=USER, password=wrong),
        cri.AuthConfig(registry_token="registry-token-7f3a"),
        cri.AuthConfig(username=USER, password=PASSWORD),
        cri.AuthConfig(auth=pair),
    ):
        try:
            daemon.call("PullImage", image=image, auth=auth)
        except grpc.RpcError as error:
            assert wrong not in error.details()  # noqa: PT017
            assert "registry-token" not in error.details()  # noqa: PT017
    pod = run_pod(daemon, pod_config(annotations={"a": "annotated-7f3a"}))
    config = container_config(annotations={"b": "annotated-7f3a"}, command=["sh", "-c", "echo $KEY"])
    config.envs.add(key="KEY", value=b"environment-7f3a")
    container = create(daemon, pod, config)
    daemon.call("StartContainer", container_id=container)
    wait_exited(daemon, container)
    remove_pod(daemon, pod)
    daemon.call("RemoveImage", image=image)
    text = log.text()
    assert "PullImage" in text
    for secret in (PASSWORD, wrong, pair, "registry-token-7f3a", "annotated-7f3a", "environment-7f3a"):
        assert secret not in text
    assert not list((daemon.run / "secrets").iterdir())


def test_levels(busybox_archive: Path) -> None:
    """At level info an ordinary pod's life is its story (test_log_story.py), few lines more, none of them a warning."""
    with scratch_daemon(log={"level": "info"}) as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        log = Listener(daemon)
        pod = run_pod(daemon)
        container = create(daemon, pod, container_config(command=["true"]))
        daemon.call("StartContainer", container_id=container)
        wait_exited(daemon, container)
        assert status(daemon, container).exit_code == 0
        remove_pod(daemon, pod)
        assert len([line for line in log.lines() if line["logger"] != "crishim.lifecycle"]) < 5
        assert {line["level"] for line in log.lines()} <= {"info"}
