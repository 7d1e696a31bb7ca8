"""A pod's life as a person drives it: each crictl command of the README's promise, against the real daemon."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import oci_layout
from tests.support.daemon import IMAGE, Daemon, eventually, scratch_daemon
from tests.support.registry import Registry
from tests.support.registry import registry as registry
from tests.support.registry import registry_files as registry_files

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node(busybox_archive: Path, registry: Registry) -> Iterator[Daemon]:
    """A daemon that trusts the loopback registry, with the busybox image."""
    with tempfile.TemporaryDirectory() as scratch:
        conf = Path(scratch) / "registries.conf"
        conf.write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
        with scratch_daemon(images={"registries_conf": str(conf)}) as daemon:
            daemon.command("images", "import", str(busybox_archive))
            yield daemon


def write(path: Path, content: object) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def test_a_pods_life_by_crictl(daemon: Daemon, tmp_path: Path) -> None:
    """From runp to rmp, with ps, pods, inspect, inspectp, logs, exec, exec -s, stats and the rest on the way."""
    crictl = daemon.crictl
    assert "crishim" in crictl("version")
    conditions = json.loads(crictl("info"))["status"]["conditions"]
    assert {c["type"]: c["status"] for c in conditions} == {"RuntimeReady": True, "NetworkReady": True}
    pid_own = {"security_context": {"namespace_options": {"pid": 1}}}
    metadata = {"name": "p", "namespace": "crictl", "uid": "u"}
    pod_file = write(
        tmp_path / "pod.json", {"metadata": metadata, "log_directory": str(tmp_path / "logs"), "linux": pid_own}
    )
    script = "echo hello; trap 'exit 0' TERM; while :; do sleep 0.1; done"
    container_file = write(
        tmp_path / "container.json",
        {
            "metadata": {"name": "c"},
            "image": {"image": IMAGE},
            "command": ["sh", "-c", script],
            "log_path": "c.log",
            "linux": pid_own,
        },
    )
    pod = crictl("runp", pod_file).strip()
    container = crictl("create", pod, container_file, pod_file).strip()
    crictl("start", container)
    assert container[:13] in crictl("ps")
    assert pod[:13] in crictl("pods")
    assert json.loads(crictl("inspect", container))["status"]["state"] == "CONTAINER_RUNNING"
    assert json.loads(crictl("inspectp", pod))["status"]["state"] == "SANDBOX_READY"
    eventually(lambda: crictl("logs", container) == "hello\n", "the log is shown")
    assert crictl("exec", "-s", container, "echo", "hi").strip() == "hi"
    assert crictl("exec", container, "echo", "streamed") == "streamed\n"
    assert container[:13] in crictl("stats")
    assert pod[:13] in crictl("statsp")
    crictl("stop", "--timeout", "5", container)
    assert json.loads(crictl("inspect", container))["status"]["exitCode"] == 0
    crictl("rm", container)
    crictl("stopp", pod)
    crictl("rmp", pod)
    assert crictl("ps", "-a", "-q") == crictl("pods", "-q") == ""


def test_an_images_life_by_crictl(daemon: Daemon, registry: Registry) -> None:
    """pull, images, inspecti, imagefsinfo, rmi."""
    registry.push(["tools/thing:1"], [oci_layout.tar_files({"file": b"content"})])
    name = f"{registry.address}/tools/thing:1"
    assert "Image is up to date" in daemon.crictl("pull", name)
    assert f"{registry.address}/tools/thing" in daemon.crictl("images")
    status = json.loads(daemon.crictl("inspecti", name))["status"]
    assert status["repoTags"] == [name]
    (used,) = json.loads(daemon.crictl("imagefsinfo"))["status"]["imageFilesystems"]
    assert int(used["usedBytes"]["value"]) > 0
    assert Path(used["fsId"]["mountpoint"]).is_dir()
    daemon.crictl("rmi", name)
    assert json.loads(daemon.crictl("images", "-o", "json", name))["images"] == []
