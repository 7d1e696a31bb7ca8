"""The composition root: the one place that knows every part, and puts them together from the settings."""

import logging
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from crishim import wiring_usage
from crishim.cdi.edits import Registry
from crishim.config import Config
from crishim.cri import admin, containers, exec, images, node, pods
from crishim.cri.describe import Describer, describe_handlers
from crishim.cri.events import Events
from crishim.cri.metrics.endpoint import Collector
from crishim.cri.server import Functions, Gate, make_server
from crishim.cri.stream.limits import Limits
from crishim.cri.stream.server import StreamServer
from crishim.engine import exec_process
from crishim.errors import CrishimError
from crishim.images.usage import StoreMeter
from crishim.lifecycle import has_process
from crishim.parts import Parts, make_parts
from crishim.verbs.admission import Admission
from crishim.verbs.create_container import create_container
from crishim.verbs.devices import Devices
from crishim.verbs.execute import Executor
from crishim.verbs.exits import Exits
from crishim.verbs.open_port import open_port
from crishim.verbs.owned import Owned
from crishim.verbs.recover import Recovery
from crishim.verbs.remove_container import remove_container
from crishim.verbs.remove_pod import remove_pod
from crishim.verbs.reopen_log import reopen_log
from crishim.verbs.run_pod import run_pod
from crishim.verbs.start_container import start_container
from crishim.verbs.stop_container import stop_container
from crishim.verbs.stop_pod import Teardown, stop_pod
from crishim.wire.linux import directories, executors

log = logging.getLogger("crishim")


@dataclass(frozen=True)
class Daemon:
    """What serve.py runs."""

    server: Any  # grpc.aio.Server
    streams: StreamServer
    owned: Owned
    gate: Gate
    events: Events
    recover: Callable[[], Awaitable[None]]
    unwatch: Callable[[], Awaitable[None]]
    metrics: Collector


@dataclass(frozen=True)
class Verbs:
    """The verbs that other parts than their own RPC call as well."""

    exits: Exits
    teardown: Teardown
    stop_pod: Callable[[str], Awaitable[None]]
    remove_pod: Callable[[str], Awaitable[None]]
    remove_container: Callable[[str], Awaitable[None]]


async def build(config: Config) -> Daemon:
    """Put the daemon together; nothing runs yet. ConfigError names a program that is not there."""
    parts = await executors.records(make_parts, config)
    verbs = make_verbs(parts)
    scratch = Path(config.run_dir) / "exec"
    await executors.processes(exec_process.sweep, scratch)  # commands whose daemon was killed
    await executors.deletion(_empty, scratch)
    await executors.deletion(_empty, Path(config.state_dir) / "checkpoints")
    executor = Executor(parts.containers, parts.handlers, parts.launcher.bundle, scratch)
    streams = _streams(config, parts, executor)
    gate = Gate()
    published = Events(parts.pods, parts.containers)
    functions = {
        **_node_functions(config, parts),
        **_pod_functions(config, parts, verbs),
        **_container_functions(config, parts, verbs),
        **exec.functions(
            exec_sync=executor.run_sync,
            urls=streams,
            reopen_log=partial(
                reopen_log,
                containers=parts.containers,
                bundle=parts.launcher.bundle,
                paths=parts.paths,
                attach_log=lambda c: parts.filesystems.attach_log(parts.pods.find(c.pod_id), c),
            ),
            pods=parts.pods,
            containers=parts.containers,
        ),
        **published.functions(),
        **images.functions(
            store=parts.images, transport=parts.transport, uses=parts.uses, meter=StoreMeter(parts.images)
        ),
        **await executors.kernel(
            wiring_usage.functions,
            config,
            pods=parts.pods,
            containers=parts.containers,
            locks=parts.locks,
            handlers=parts.handlers,
            launcher=parts.launcher,
            paths=parts.paths,
        ),
        **admin.functions(devices=parts.netdevices, pods=parts.pods, locks=parts.locks, transport=parts.transport),
    }
    server = make_server(functions, parts.owned, gate)
    collector = Collector(parts.netdevices.tally, partial(_states, parts))
    return Daemon(
        server,
        streams,
        parts.owned,
        gate,
        published,
        partial(_begin, parts, verbs),
        parts.netdevices.close,
        collector,
    )


def _streams(config: Config, parts: Parts, executor: Executor) -> StreamServer:
    settings = config.stream
    return StreamServer(
        executor.open_exec,
        executor.open_attach,
        partial(open_port, pods=parts.pods),
        tls_cert=settings.tls_cert,
        tls_key=settings.tls_key,
        idle_timeout=settings.idle_timeout,
        limits=Limits(settings.sessions, settings.session_streams, settings.descriptors),
    )


def _states(parts: Parts) -> list[tuple[str, str]]:
    pods = [("pod", str(pod.state)) for pod in parts.pods]
    return pods + [("container", str(container.state)) for container in parts.containers]


def make_verbs(parts: Parts) -> Verbs:
    exits = Exits(
        parts.containers, parts.handlers, parts.locks, parts.owned, parts.launcher.bundle, parts.filesystems.release
    )
    teardown = Teardown(parts.netdevices, parts.networks, parts.inits, parts.sandboxes, parts.handlers)
    stop_a_pod: Callable[[str], Awaitable[None]] = partial(
        stop_pod, pods=parts.pods, containers=parts.containers, locks=parts.locks, teardown=teardown
    )
    remove_one: Callable[[str], Awaitable[None]] = partial(
        remove_container,
        containers=parts.containers,
        locks=parts.locks,
        handlers=parts.handlers,
        bundle=parts.launcher.bundle,
        delete_rootfs=parts.filesystems.delete,
        hold_devices=parts.netdevices.hold,
    )
    remove_a_pod = partial(
        remove_pod,
        pods=parts.pods,
        containers=parts.containers,
        locks=parts.locks,
        stop_pod=stop_a_pod,
        remove_container=remove_one,
        teardown=teardown,
    )
    return Verbs(exits, teardown, stop_a_pod, remove_a_pod, remove_one)


def _node_functions(config: Config, parts: Parts) -> Functions:
    return node.functions(
        networks=parts.networks,
        handlers=partial(describe_handlers, parts.handlers),
        systemd_cgroups=config.runtimes.cgroup_driver == "systemd",
        info=_describer(config, parts).node,
    )


def _pod_functions(config: Config, parts: Parts, verbs: Verbs) -> Functions:
    run = partial(
        run_pod,
        pods=parts.pods,
        names=parts.names,
        handlers=parts.handlers,
        sandboxes=parts.sandboxes,
        networks=parts.networks,
        inits=parts.inits,
    )
    return pods.functions(
        run_pod=run,
        stop_pod=verbs.stop_pod,
        remove_pod=verbs.remove_pod,
        pods=parts.pods,
        containers=parts.containers,
        describe=_describer(config, parts).pod,
    )


def _container_functions(config: Config, parts: Parts, verbs: Verbs) -> Functions:
    movers = {name: h.netdevices for name, h in config.runtimes.handlers.items()}
    registry = Registry([Path(d) for d in config.netdevices.cdi_dirs])
    create = partial(
        create_container,
        admission=Admission(parts.pods, parts.containers, parts.names, parts.locks, config.runtimes.default),
        filesystems=parts.filesystems,
        devices=Devices(registry, parts.netdevices, movers),
        launcher=parts.launcher,
        containers=parts.containers,
        exits=verbs.exits,
    )
    start = partial(
        start_container,
        containers=parts.containers,
        handlers=parts.handlers,
        locks=parts.locks,
        began=time.time_ns(),
        hold_devices=parts.netdevices.hold,
    )
    return containers.functions(
        create_container=create,
        start_container=start,
        stop_container=partial(stop_container, containers=parts.containers, hold_devices=parts.netdevices.hold),
        remove_container=verbs.remove_container,
        containers=parts.containers,
        describe=_describer(config, parts).container,
    )


def _describer(config: Config, parts: Parts) -> Describer:
    return Describer(config, parts.netdevices, parts.networks, parts.launcher.bundle)


async def recover(parts: Parts, verbs: Verbs) -> None:
    """Bring records and node together, once, before anything else is done."""
    try:
        known = {image.id for image in (await parts.images.snapshot()).images}
        lost = {c.image_id for c in parts.containers if has_process(c.state) and c.image_id} - known
        if lost:
            log.error(
                "images of running containers are not in the store: no layer is removed", extra={"images": sorted(lost)}
            )
        await parts.transport.recover(sweep_store=not lost)
    except (CrishimError, OSError, ValueError) as error:
        log.error("the image store cannot be put in order", extra={"error": str(error)})
    recovery = Recovery(
        parts.pods, parts.containers, verbs.exits, parts.handlers, parts.sandboxes, parts.netdevices, parts.owned
    )
    await recovery.run(
        remove_container=verbs.remove_container,
        stop_pod=verbs.stop_pod,
        teardown=verbs.teardown,
        sweeps=(parts.filesystems.sweep, parts.launcher.sweep),
    )


async def _begin(parts: Parts, verbs: Verbs) -> None:
    """What a daemon does before it serves."""
    await recover(parts, verbs)
    await parts.netdevices.watch()


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directories.make_new(directory)
