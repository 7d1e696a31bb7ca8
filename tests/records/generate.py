"""Makes tests/records/schemaN from a real run: pods, containers and devices in every state a record rests in.

    python -m tests.records.generate BUSYBOX_ARCHIVE      # as root; then commit what it wrote

A schema's records are never made anew: later versions are held to what was written then.
"""

import os
import shutil
import sys
from pathlib import Path

from crishim.model import PodRecord
from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon, scratch_daemon
from tests.support.isolation import ip, isolate
from tests.support.pods import annotated, container_config, create, pod_config, run_pod, start, wait_exited

HERE = Path(__file__).parent


def fill(daemon: Daemon) -> None:
    """Pods with and without a network, stopped ones, shared PID namespaces; containers that wait, run and ended."""
    ip("link", "add", "fixture0", "type", "ifb")
    ip("address", "add", "192.0.2.77/24", "dev", "fixture0")
    mappings = [cri.PortMapping(host_port=8095, container_port=80)]
    shared = pod_config(
        "shared",
        labels={"app": "\u00e9"},
        annotations=annotated(fixture0="net1"),
        port_mappings=mappings,
        dns_config=cri.DNSConfig(servers=["192.0.2.53"]),
    )
    shared.linux.security_context.namespace_options.pid = cri.POD
    pod = run_pod(daemon, shared)
    start(daemon, pod, container_config("runs", labels={"io.kubernetes.container.name": "runs"}))
    create(daemon, pod, container_config("waits", attempt=3))
    wait_exited(daemon, start(daemon, pod, container_config("ended", command=["sh", "-c", "exit 4"])))
    host = pod_config("host")
    host.linux.security_context.namespace_options.network = cri.NODE
    start(daemon, run_pod(daemon, host, handler="runc"), container_config("host"))
    daemon.call("StopPodSandbox", pod_sandbox_id=run_pod(daemon, pod_config("stopped")))


def main(archive: str) -> None:
    isolate()
    target = HERE / f"schema{PodRecord.__struct_config__.tag}"
    assert not target.exists(), f"{target} is there: what was written once stays"
    with scratch_daemon() as daemon:
        assert daemon.command("images", "import", archive).returncode == 0
        fill(daemon)
        daemon.kill()
        for kind in ("pods", "containers", "netdev"):
            (target / kind).mkdir(parents=True)
            for path in (daemon.state / kind).iterdir():
                shutil.copy(path, target / kind)


if __name__ == "__main__":
    assert os.geteuid() == 0
    main(sys.argv[1])
