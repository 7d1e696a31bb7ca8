"""What docs/ has people type, pasted: each page's shell blocks, on a daemon with one pod."""

import json
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.node.test_restore import CRIU
from tests.support import daemon as support
from tests.support.daemon import Daemon, scratch_daemon
from tests.support.pods import container_config, pod_config, remove_pod, run_pod, start

pytestmark = pytest.mark.node
ROOT = Path(__file__).parents[2]
PAGES = ("metrics", "registries", "podman", "userns", "troubleshooting", "upgrading")
LOOP = ["sh", "-c", "while :; do sleep 1; done"]  # a sleep that is restored ends at once, by Debian 13's busybox
RUNNING = "crishim: a daemon is running: "  # cleanup says so


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="module")
def node(busybox_archive: Path) -> Iterator[tuple[Daemon, str, int]]:
    """A daemon with metrics and a pod with a container: itself, the pod's id, the port."""
    port = free_port()
    with scratch_daemon(metrics={"address": f":{port}"}) as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        pod = run_pod(daemon, pod_config("web"))
        start(daemon, pod, container_config("main"))
        yield daemon, pod, port
        remove_pod(daemon, pod)


def programs(directory: Path, daemon: Daemon) -> Path:
    """crishim and crictl as they are on a node, for this daemon."""
    directory.mkdir()
    crictl = f'exec {support.test_program("crictl")} --config={directory}/crictl.yaml "$@"'
    crishim = f'exec {sys.executable} -m crishim "$@" --config {daemon.config}'
    (directory / "crictl.yaml").write_text(f"runtime-endpoint: unix://{daemon.socket}\n")
    for name, command in (("crictl", crictl), ("crishim", crishim)):
        (directory / name).write_text(f"#!/bin/sh\n{command}\n")
        (directory / name).chmod(stat.S_IRWXU)
    return directory


@pytest.mark.parametrize("page", PAGES)
def test_a_page_as_it_stands(page: str, node: tuple[Daemon, str, int], tmp_path: Path) -> None:
    """Every ```sh block holds, line by line; what is left to the reader is in blocks of other kinds."""
    daemon, pod, port = node
    said = walk(page, daemon, tmp_path, {":9797": f":{port}", "/tmp/": f"{tmp_path}/"}, pod=pod)
    check = CHECKS.get(page)
    assert check is None or check(said, tmp_path)


@pytest.mark.skipif(not CRIU, reason="no criu that works on this kernel: hack/newer criu")
def test_the_page_of_checkpoints(node: tuple[Daemon, str, int], tmp_path: Path) -> None:
    """The container that is made of the archive runs beside the one it was made of."""
    daemon, _, _ = node
    sandbox, main = tmp_path / "pod.json", tmp_path / "main.json"
    metadata = {"name": "checkpointed", "namespace": "default", "uid": "u1"}
    sandbox.write_text(json.dumps({"metadata": metadata, "log_directory": f"{tmp_path}/logs"}))
    fields = {"metadata": {"name": "main"}, "image": {"image": support.IMAGE}, "command": LOOP}
    own = {"security_context": {"namespace_options": {"pid": 1}}}
    main.write_text(json.dumps(fields | {"log_path": "main.log", "linux": own}))
    pod = daemon.crictl("runp", "--runtime=runc", str(sandbox)).strip()
    try:
        container = daemon.crictl("create", pod, str(main), str(sandbox)).strip()
        daemon.crictl("start", container)
        places = {"/var/lib/kubelet/checkpoints": f"{daemon.directory}/checkpoints"}
        walk("checkpoint", daemon, tmp_path, places, pod=pod, container=container)
        names = {c.metadata.name for c in daemon.call("ListContainers").containers if c.pod_sandbox_id == pod}
        assert names == {"main", "app"}
    finally:
        remove_pod(daemon, pod)


def walk(page: str, daemon: Daemon, directory: Path, places: Mapping[str, str], **known: str) -> str:
    """What a page's blocks print, pasted in a directory. places: what stands for a path or port. known: variables."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / f"docs/{page}.md").read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    path = f"PATH={programs(directory / 'bin', daemon)}:$PATH PYTHONPATH={ROOT}"
    commands = "\n".join(blocks)
    for place, ours in places.items():
        commands = commands.replace(place, ours)
    script = ["set -eu", path, "export PATH PYTHONPATH", *(f"{k}={v}" for k, v in known.items()), commands]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)], capture_output=True, text=True, cwd=directory, timeout=100, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if not line.startswith(RUNNING)]
    assert (done.returncode, complaints) == (0, []), f"{done.stdout}\n{done.stderr}"
    return done.stdout


def _metrics(said: str, directory: Path) -> bool:
    """The scrape counts the pod's own calls, the timeline has them, with the CNI plugins; and there is a picture."""
    for text in (
        'crishim_rpc_duration_seconds_count{code="OK",rpc="RunPodSandbox"} 1.0',
        'crishim_cni_duration_seconds_count{command="ADD",plugin="bridge"} 1.0',
        'crishim_phase_duration_seconds_count{phase="runtime create"} 1.0',
        "crishim_queue_wait_seconds_count 2.0",
        "\n    CNI ADD bridge ",
        "\nStartContainer ",
    ):
        assert text in said, said
    return (directory / "start.svg").read_text().startswith("<svg ")


CHECKS = {"metrics": _metrics}
