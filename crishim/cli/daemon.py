"""The rest of the daemon: the complete Node, the streaming server, the metrics, recovery. Importing it imports all
modules; serve.py does so after it has opened the CRI socket.
"""

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from crishim.base_node import BaseNode
from crishim.config import Config, ConfigError
from crishim.cri import record_checks, rpcs
from crishim.cri.gate import RpcGate
from crishim.cri.node_streams import NodeStreams
from crishim.cri.stream.limits import Limits
from crishim.cri.stream.server import StreamServer
from crishim.engine.exec.orphans import kill_orphans
from crishim.errors import CrishimError, Kind
from crishim.linux import directories, executors
from crishim.node import Node, open_node
from crishim.operations import lifecycle_log
from crishim.operations.checkpoint_pod import clear_interrupted
from crishim.operations.exec import scratch
from crishim.operations.nri_runtime import NriRuntime
from crishim.operations.recover import is_in_doubt, recover

log = logging.getLogger("crishim")


@dataclass(frozen=True)
class Daemon:
    """The parts serve.py runs beside the CRI server."""

    node: Node
    streams: StreamServer
    stop_telling: list[Callable[[], None]]  # of metrics and traces


async def build(base: BaseNode) -> Daemon:
    """Read the records, build the daemon, and listen at the addresses of the settings. Raises ConfigError, naming the
    setting that cannot be used.
    """
    config, streams = base.config, _streams(base.config)
    node = await executors.records(open_node, base, record_checks, streams)
    lifecycle_log.follow(node)
    await node.netdevices.load()
    await executors.processes(kill_orphans, scratch(node))  # of a killed daemon
    await executors.deletion(_empty, scratch(node))
    await clear_interrupted(node)
    await _open(streams, node)
    try:
        telling = [await executors.modules(_serve_metrics, node)] if config.metrics.address else []
    except CrishimError as error:
        raise ConfigError(error.message) from None
    if config.tracing.endpoint:
        from crishim.otlp.exporter import Exporter

        settings = config.tracing
        telling.append(Exporter(settings.endpoint, settings.sampling_rate_per_million, node.traces).stop)
    return Daemon(node, streams, telling)


async def begin(node: Node, gate: RpcGate) -> None:
    """Open the gate for read-only RPCs, recover, watch devices. Raises ConfigError if NRI's socket cannot be made."""
    gate.open_for_reads(node, rpcs.collect(), in_doubt=is_in_doubt(node))
    try:
        await node.nri.start(NriRuntime(node))  # before recovery: launched plugins get its events
    except CrishimError as error:
        raise ConfigError(f"nri.socket: {error.message}") from None
    await recover(node)
    log.info("recovered", extra=lifecycle_log.count(node))
    await node.netdevices.watch()


def _serve_metrics(node: Node) -> Callable[[], None]:
    """Serve the metrics; returns the function that stops them. Runs in a thread, as it imports 16 MB of modules."""
    from crishim.cri.metrics.endpoint import Collector, serve

    return serve(node.config.metrics, Collector(node))


def _streams(config: Config) -> StreamServer:
    settings = config.stream
    return StreamServer(
        tls_cert=settings.tls_cert,
        tls_key=settings.tls_key,
        idle_timeout=settings.idle_timeout,
        limits=Limits(settings.sessions, settings.session_streams, settings.descriptors),
    )


async def _open(streams: StreamServer, node: Node) -> None:
    settings = node.config.stream
    try:
        await streams.start(NodeStreams(node), settings.address, settings.port)
    except CrishimError as error:
        keys = "stream.tls_cert, stream.tls_key" if error.kind is Kind.INVALID else "stream.address, stream.port"
        raise ConfigError(f"{keys}: {error.message}") from None


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directories.make_new(directory)
