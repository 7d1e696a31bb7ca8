"""What comes out of containers: ExecSync, streaming URLs, logs."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon, eventually
from tests.support.pods import (
    container_config,
    create,
    execute,
    pod_config,
    remove_pod,
    run_pod,
    start,
    wait_exited,
)

pytestmark = pytest.mark.node
Code = grpc.StatusCode


def code_of(daemon: Daemon, method: str, **fields: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        daemon.call(method, **fields)
    code: grpc.StatusCode = caught.value.code()
    return code


@pytest.mark.fact("ExecSync", "16 MiB")
def test_exec_sync_cap(daemon: Daemon) -> None:
    """ExecSync: more output than a message holds is cut without an error, on one stream and on both together."""
    pod = run_pod(daemon)
    one = start(daemon, pod)
    for command in (
        "head -c 20000000 /dev/zero; exit 3",
        "head -c 20000000 /dev/zero >&2; exit 3",
        "head -c 12000000 /dev/zero & head -c 12000000 /dev/zero >&2; wait; exit 3",
    ):
        answer = daemon.call("ExecSync", container_id=one, cmd=["sh", "-c", command])
        assert answer.exit_code == 3
        assert 15 << 20 < len(answer.stdout) + len(answer.stderr) < 16 << 20
        assert answer.ByteSize() <= 16 << 20
    remove_pod(daemon, pod)


@pytest.mark.fact("ExecSync")
def test_exec_sync_timeout(daemon: Daemon) -> None:
    """ExecSync: on timeout DEADLINE_EXCEEDED and the process is gone; a non-zero exit is an answer; 0 is no timeout."""
    pod = run_pod(daemon)
    one = start(daemon, pod)
    fields = {"container_id": one, "cmd": ["sh", "-c", "sleep 4321; true"], "timeout": 1}
    assert code_of(daemon, "ExecSync", **fields) == Code.DEADLINE_EXCEEDED
    assert "4321" not in execute(daemon, one, "ps", "-o", "args")[1]
    answer = daemon.call("ExecSync", container_id=one, cmd=["sh", "-c", "sleep 1.2; echo late; exit 200"], timeout=0)
    assert (answer.stdout, answer.exit_code) == (b"late\n", 200)
    remove_pod(daemon, pod)


@pytest.mark.fact("Exec", "Attach", "PortForward")
def test_streaming_urls(daemon: Daemon) -> None:
    """Exec, Attach, PortForward: a whole URL with a token of its own each time; host-network pods forward too."""
    config = pod_config()
    config.linux.security_context.namespace_options.network = cri.NODE
    pod = run_pod(daemon, config)
    wish = container_config()
    wish.linux.security_context.namespace_options.network = cri.NODE
    one = start(daemon, pod, wish)
    requests: dict[str, dict[str, Any]] = {
        "Exec": {"container_id": one, "cmd": ["true"], "stdout": True},
        "Attach": {"container_id": one, "stdout": True, "stderr": True},
        "PortForward": {"pod_sandbox_id": pod, "port": [80]},
    }
    urls = [daemon.call(name, **fields).url for name, fields in requests.items() for _ in range(2)]
    assert len(set(urls)) == 6
    for url in urls:
        parts = urlsplit(url)
        assert parts.scheme in ("http", "https")
        assert parts.hostname
        assert parts.port
        assert len(parts.path.rpartition("/")[2]) == 8
    for wrong in ({"stdout": False}, {"tty": True, "stderr": True}):
        assert code_of(daemon, "Exec", **{**requests["Exec"], **wrong}) == Code.INVALID_ARGUMENT
    remove_pod(daemon, pod)


@pytest.mark.fact("ReopenContainerLog", "log lines and rotation")
def test_log_format_and_rotation(daemon: Daemon, tmp_path: Path) -> None:
    """ReopenContainerLog: rotated thrice while it writes, no line is lost or torn, and each line has the CRI's form."""
    sandbox = pod_config(log_directory=str(tmp_path))
    pod = run_pod(daemon, sandbox)
    script = (
        "trap 'printf partial; echo err >&2; exit' TERM; i=0;"
        "while :; do echo line $i; i=$((i+1)); test $((i % 100)) -ne 0 || sleep 0.01; done"
    )
    one = create(daemon, pod, container_config(log_path="c.log", command=["sh", "-c", script]), sandbox)
    daemon.call("StartContainer", container_id=one)
    log = tmp_path / "c.log"
    for number in range(3):
        eventually(lambda: log.exists() and log.stat().st_size > 1000, "it writes")
        log.rename(tmp_path / f"c.log.{number}")
        daemon.call("ReopenContainerLog", container_id=one)
        assert log.exists()
    eventually(lambda: log.stat().st_size > 1000, "it writes on")
    daemon.call("StopContainer", container_id=one, timeout=20)
    files = [tmp_path / f"c.log.{n}" for n in range(3)] + [log]
    lines = [line for f in files for line in f.read_text().splitlines()]
    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP]) (.*)"
    parsed = [re.fullmatch(form, line) for line in lines]
    assert all(parsed), [line for line, p in zip(lines, parsed, strict=True) if not p][:3]
    told = [(p[3], p[4], p[5]) for p in parsed if p]
    numbered = [text for _, _, text in told if text.startswith("line ")]
    assert numbered == [f"line {n}" for n in range(len(numbered))]
    assert ("stdout", "P", "partial") in told
    assert ("stderr", "F", "err") in told
    remove_pod(daemon, pod)


@pytest.mark.fact("ReopenContainerLog")
@pytest.mark.parametrize("state", ["created", "ended"])
def test_reopen_creates_nothing(daemon: Daemon, tmp_path: Path, state: str) -> None:
    """ReopenContainerLog: of a container that is not running, an error and no file."""
    sandbox = pod_config(log_directory=str(tmp_path))
    pod = run_pod(daemon, sandbox)
    one = create(daemon, pod, container_config(log_path="c.log", command=["true"]), sandbox)
    if state == "ended":
        daemon.call("StartContainer", container_id=one)
        wait_exited(daemon, one)
    (tmp_path / "c.log").unlink(missing_ok=True)
    assert code_of(daemon, "ReopenContainerLog", container_id=one) == Code.FAILED_PRECONDITION
    assert not (tmp_path / "c.log").exists()
    remove_pod(daemon, pod)
