"""The daemon's parts, put together from the settings: the node, its two servers, its metrics. serve.py runs it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from crishim.config import Config
from crishim.cri import record_checks, rpcs
from crishim.cri.metrics.endpoint import Collector
from crishim.cri.server import Gate, make_server
from crishim.cri.stream.limits import Limits
from crishim.cri.stream.server import StreamServer
from crishim.engine.exec.orphans import kill_orphans
from crishim.linux import directories, executors
from crishim.node import Node, open_node
from crishim.operations.exec import scratch


@dataclass(frozen=True)
class Daemon:
    """What serve.py runs."""

    node: Node
    server: grpc.aio.Server
    streams: StreamServer
    gate: Gate
    metrics: Collector


async def build(config: Config) -> Daemon:
    """Put the daemon together; nothing runs yet. ConfigError names a program that is not there."""
    streams = _streams(config)
    node = await executors.records(open_node, config, record_checks, streams)
    await executors.processes(kill_orphans, scratch(node))  # commands whose daemon was killed
    await executors.deletion(_empty, scratch(node))
    await executors.deletion(_empty, Path(config.state_dir) / "checkpoints")
    gate = Gate()
    return Daemon(node, make_server(rpcs.collect(), node, gate), streams, gate, Collector(node))


def _streams(config: Config) -> StreamServer:
    settings = config.stream
    return StreamServer(
        tls_cert=settings.tls_cert,
        tls_key=settings.tls_key,
        idle_timeout=settings.idle_timeout,
        limits=Limits(settings.sessions, settings.session_streams, settings.descriptors),
    )


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directories.make_new(directory)
