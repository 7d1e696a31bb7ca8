"""What a daemon has imported when it answers its first Status: a node waits for it (docs/performance.md)."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.settings_toml import to_toml

ANSWER = """
import asyncio, json, sys
from pathlib import Path
from crishim.__main__ import load
from crishim.cli import serve
from crishim.operations.own_directories import make_directories
from crishim.pb import cri_pb2 as cri

async def answer(config):
    base = serve.open_base_node(config)
    gate = serve.RpcGate(base)
    server = await serve._open_socket(Path(config.socket), gate)
    import grpc.aio
    async with grpc.aio.insecure_channel(f"unix:{config.socket}") as channel:
        ask = channel.unary_unary("/runtime.v1.RuntimeService/Status")
        status = cri.StatusResponse.FromString(await ask(b"", timeout=60)).status
    there = sorted(sys.modules)
    await server.stop(None)
    return {"ready": status.conditions[0].status, "modules": there}

config = load(Path(sys.argv[1]))
make_directories(config)
print(json.dumps(asyncio.run(answer(config))))
"""
LATER = [
    *("crishim.node", "crishim.cli.daemon", "crishim.cri.rpcs", "crishim.cri.pods", "crishim.cri.stream"),
    *("crishim.images", "crishim.netdev", "crishim.nri", "crishim.spec", "crishim.state", "crishim.stats"),
    *("crishim.engine.sandbox", "crishim.pb.nri", "crishim.pb.nri_pb2", "crishim.pb.ttrpc_pb2"),
    *("h11", "pyprctl", "websockets", "prometheus_client", "pyroute2", "yaml", "aiofiles", "ctypes"),
    "google.protobuf.json_format",
]


def test_the_first_status_needs_little(tmp_path: Path) -> None:
    """Neither pods nor images, devices, NRI, streams: each of these names is a part of the start that comes later."""
    runtime = tmp_path / "runtime"
    runtime.write_text("#!/bin/sh\nexit 1\n")
    runtime.chmod(0o755)
    conmon = tmp_path / "conmon"
    conmon.write_text("#!/bin/sh\necho conmon version 2.1\n")
    conmon.chmod(0o755)
    config = tmp_path / "config.toml"
    settings = {
        "socket": str(tmp_path / "sock"),
        "state_dir": str(tmp_path / "state"),
        "run_dir": str(tmp_path / "run"),
        "runtimes": {"conmon": str(conmon), "handlers": {"crun": {"path": str(runtime)}}},
    }
    config.write_text(to_toml(settings))
    command = [sys.executable, "-c", ANSWER, str(config)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["ready"] is (os.geteuid() == 0)
    there = set(said["modules"])
    assert {"grpc.aio", "crishim.cri.status"} <= there
    assert there & set(LATER) == set()


# Where the settings name no address of metrics, and until an archive is imported or a checkpoint restored.
SELDOM = ["http.server", "wsgiref", "prometheus_client", "opentelemetry", "tarfile", "pyroute2"]


def test_the_daemon_does_not_hold_what_few_nodes_need() -> None:
    modules = "crishim.cli.serve, crishim.cli.daemon, crishim.cli.reload"
    code = f"import sys, {modules}; print([m for m in {SELDOM} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
