"""What docs/ has people type, pasted: each page's shell blocks, on a daemon with one pod."""

import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.__main__ import _parser
from crishim.cli.command_tree import commands
from tests.support import daemon as support
from tests.support.daemon import Daemon, scratch_daemon
from tests.support.pods import container_config, pod_config, remove_pod, run_pod, start

pytestmark = pytest.mark.node
ROOT = Path(__file__).parents[2]
PAGES = ("metrics", "registries", "podman", "userns", "troubleshooting", "upgrading")
RUNNING = "crishim: a daemon is running: "  # cleanup says so
COMMAND = re.compile(r"`crishim ([a-z]+(?: [a-z]+)?)")


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
    text = (ROOT / f"docs/{page}.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert blocks
    script = "\n".join(["set -eu", f"PATH={programs(tmp_path / 'bin', daemon)}:$PATH PYTHONPATH={ROOT}", f"pod={pod}"])
    script += "\nexport PATH PYTHONPATH\n" + "\n".join(blocks).replace(":9797", f":{port}").replace(
        "/tmp/", f"{tmp_path}/"
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=100, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if not line.startswith(RUNNING)]
    assert (done.returncode, complaints) == (0, []), f"{done.stdout}\n{done.stderr}"
    check = CHECKS.get(page)
    assert check is None or check(done.stdout, tmp_path)


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


def test_pages_name_what_there_is() -> None:
    """The index has every page, links lead somewhere, and each command that is named is one of crishim's."""
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    index = (ROOT / "docs/README.md").read_text()
    assert pages - {"checkpoint.md"} <= set(re.findall(r"\]\(([a-z-]+\.md)\)", index))
    known = {command.prog.removeprefix("crishim ") for command in commands(_parser())}
    for page in PAGES:
        text = (ROOT / f"docs/{page}.md").read_text()
        for named in COMMAND.findall(text):
            assert named in known or named.split()[0] in known, f"{page}: {named}"
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (ROOT / "docs" / target).exists(), f"{page}: {target}"


CHECKS = {"metrics": _metrics}
