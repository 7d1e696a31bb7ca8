"""The composition root: the one place that knows every part, and puts them together from the settings."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from crishim import wiring_usage
from crishim.cdi.edits import Registry
from crishim.cni.chain import Plugins
from crishim.cni.directory import ConfigDirectory
from crishim.cni.network import PodNetworks
from crishim.config import Config, ConfigError, find_program
from crishim.cri import admin, containers, events, exec, images, node, pods
from crishim.cri.describe import Describer, describe_handlers
from crishim.cri.server import Functions, Gate, make_server
from crishim.cri.stream.server import StreamServer
from crishim.engine.handlers import Handlers
from crishim.engine.init import Inits
from crishim.engine.runtime import Runtime
from crishim.engine.sandbox import Sandboxes
from crishim.images.rootfs import RootFilesystems
from crishim.images.skopeo import Place, Skopeo
from crishim.images.store import ImageStore
from crishim.images.transport import Transport
from crishim.images.usage import StoreMeter
from crishim.images.uses import Uses
from crishim.lifecycle import check_container, check_pod
from crishim.model import ContainerRecord, PodRecord
from crishim.netdev.attach import NetDevices
from crishim.spec import bundle
from crishim.spec.build import Host
from crishim.state.locks import Locks
from crishim.state.names import Names, container_name, pod_name
from crishim.state.store import Store
from crishim.verbs.admission import Admission
from crishim.verbs.create_container import create_container
from crishim.verbs.devices import Devices
from crishim.verbs.execute import Executor
from crishim.verbs.exits import Exits
from crishim.verbs.filesystems import Filesystems, Places
from crishim.verbs.launch import Launcher, LaunchSettings
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


@dataclass(frozen=True)
class Daemon:
    """What serve.py runs."""

    server: Any  # grpc.aio.Server
    streams: StreamServer
    owned: Owned
    gate: Gate
    recover: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Parts:
    """The stores and drivers, one of each."""

    pods: Store[PodRecord]
    containers: Store[ContainerRecord]
    names: Names
    locks: Locks
    owned: Owned
    handlers: Handlers
    sandboxes: Sandboxes
    networks: PodNetworks
    inits: Inits
    netdevices: NetDevices
    images: ImageStore
    transport: Transport
    uses: Uses
    filesystems: Filesystems
    launcher: Launcher


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
    parts = await asyncio.to_thread(_parts, config)
    verbs = _verbs(parts)
    scratch = Path(config.run_dir) / "exec"
    await asyncio.to_thread(_empty, scratch)
    await asyncio.to_thread(_empty, Path(config.state_dir) / "checkpoints")
    executor = Executor(parts.containers, parts.handlers, parts.launcher.bundle, scratch)
    streams = StreamServer(
        executor.open_exec,
        executor.open_attach,
        partial(open_port, pods=parts.pods),
        tls_cert=config.stream.tls_cert,
        tls_key=config.stream.tls_key,
    )
    gate = Gate()
    functions = {
        **_node_functions(config, parts),
        **_pod_functions(config, parts, verbs),
        **_container_functions(config, parts, verbs),
        **exec.functions(
            exec_sync=executor.run_sync,
            urls=streams,
            reopen_log=partial(reopen_log, containers=parts.containers, bundle=parts.launcher.bundle),
            pods=parts.pods,
            containers=parts.containers,
        ),
        **events.functions(pods=parts.pods, containers=parts.containers),
        **images.functions(
            store=parts.images, transport=parts.transport, uses=parts.uses, meter=StoreMeter(parts.images)
        ),
        **await asyncio.to_thread(
            wiring_usage.functions,
            config,
            pods=parts.pods,
            containers=parts.containers,
            locks=parts.locks,
            handlers=parts.handlers,
            launcher=parts.launcher,
        ),
        **admin.functions(devices=parts.netdevices, pods=parts.pods, locks=parts.locks, transport=parts.transport),
    }
    server = make_server(functions, parts.owned, gate)
    return Daemon(server, streams, parts.owned, gate, partial(_recover, parts, verbs))


def _parts(config: Config) -> Parts:
    state, run = Path(config.state_dir), Path(config.run_dir)
    pods = Store(state / "pods", PodRecord, "pod sandbox", lambda a, b: check_pod(a.state, b.state))
    containers = Store(
        state / "containers", ContainerRecord, "container", lambda a, b: check_container(a.state, b.state)
    )
    names = Names()
    _load(pods, containers, names)
    handlers = _handlers(config)
    sandboxes = Sandboxes(run, config.pods.sysctls, config.pods.cgroup_parent)
    store, transport = image_parts(config)
    uses = Uses(lambda: _images_in_use(containers))
    create_missing = config.runtimes.missing_host_path == "create"
    places = Places(state / "writable", run / "roots")
    settings = LaunchSettings(
        conmon=_program("runtimes.conmon", config.runtimes.conmon),
        systemd_cgroups=config.runtimes.cgroup_driver == "systemd",
        pids_limit=config.runtimes.pids_limit,
        launcher=_static_busybox(),
    )
    return Parts(
        pods=pods,
        containers=containers,
        names=names,
        locks=Locks(),
        owned=Owned(),
        handlers=handlers,
        sandboxes=sandboxes,
        networks=PodNetworks(
            ConfigDirectory(Path(config.network.config_dir), config.network.choose),
            Plugins(config.network.plugin_dirs, config.network.timeout),
        ),
        inits=Inits(find_program(config.pods.init) or config.pods.init, bundle.read("init.json"), state),
        netdevices=NetDevices(state / "netdev", allow_node_device=config.netdevices.allow_node_device),
        images=store,
        transport=transport,
        uses=uses,
        filesystems=Filesystems(
            store, uses, RootFilesystems(store.root), places, handlers, create_missing=create_missing
        ),
        launcher=Launcher(run, handlers, sandboxes, containers, Host.probe(), settings),
    )


def _verbs(parts: Parts) -> Verbs:
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
        info=Describer(config, parts.netdevices, parts.launcher.bundle).node,
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
        describe=Describer(config, parts.netdevices, parts.launcher.bundle).pod,
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
    start = partial(start_container, containers=parts.containers, handlers=parts.handlers, locks=parts.locks)
    return containers.functions(
        create_container=create,
        start_container=start,
        stop_container=partial(stop_container, containers=parts.containers),
        remove_container=verbs.remove_container,
        containers=parts.containers,
        describe=Describer(config, parts.netdevices, parts.launcher.bundle).container,
    )


async def _recover(parts: Parts, verbs: Verbs) -> None:
    await parts.transport.recover()
    recovery = Recovery(parts.pods, parts.containers, verbs.exits, parts.handlers, parts.sandboxes, parts.netdevices)
    await recovery.run(
        remove_container=verbs.remove_container,
        stop_pod=verbs.stop_pod,
        teardown=verbs.teardown,
        sweep=parts.filesystems.sweep,
    )


def _load(pods: Store[PodRecord], containers: Store[ContainerRecord], names: Names) -> None:
    """Read the records, and take note of their names; a name goes with its record."""
    pods.load()
    containers.load()
    for pod in pods:
        m = pod.parse_config().metadata
        names.reserve(pod_name(m.namespace, m.name, m.uid, m.attempt), pod.id, "pod sandbox")
    for container in containers:
        metadata = container.parse_config().metadata
        names.reserve(container_name(container.pod_id, metadata.name, metadata.attempt), container.id, "container")
    pods.subscribe(lambda before, after: names.release(before.id) if before and not after else None)
    containers.subscribe(lambda before, after: names.release(before.id) if before and not after else None)


def _handlers(config: Config) -> Handlers:
    """The runtimes that are there; only the default one has to be."""
    runtimes = {}
    for name, handler in config.runtimes.handlers.items():
        path = find_program(handler.path)
        if path is None and name == config.runtimes.default:
            raise ConfigError(f"runtimes.handlers.{name}.path: there is no program {handler.path}")
        if path is not None:
            runtimes[name] = Runtime(
                name,
                path,
                Path(config.run_dir) / "runtime" / name,
                timeout=config.runtimes.timeout,
                systemd=config.runtimes.cgroup_driver == "systemd",
            )
    return Handlers(runtimes, config.runtimes.default)


def image_parts(config: Config) -> tuple[ImageStore, Transport]:
    """The image store and what changes it; `crishim images import` uses them without a daemon."""
    settings = config.images
    root = Path(settings.root) if settings.root else Path(config.state_dir) / "images"
    run = Path(config.run_dir)
    place = Place(root=root, run=run / "images", scratch=Path(config.state_dir) / "downloads", secrets=run / "secrets")
    skopeo = Skopeo(
        place,
        program=_program("images.skopeo", settings.skopeo),
        registries_conf=Path(settings.registries_conf) if settings.registries_conf else None,
        policy=Path(settings.policy) if settings.policy else None,
    )
    store = ImageStore(root, pinned=settings.pinned)
    return store, Transport(skopeo, store, pull_timeout=settings.pull_timeout)


def _images_in_use(containers: Store[ContainerRecord]) -> set[str]:
    return {c.image_id for c in containers} | {m.image_id for c in containers for m in c.mounts if m.image_id}


def _program(key: str, name: str) -> str:
    path = find_program(name)
    if path is None:
        raise ConfigError(f"{key}: there is no program {name}")
    return path


def _static_busybox() -> str:
    """The busybox of PATH if it is static, so that it runs in any root file system: it names no interpreter."""
    path = find_program("busybox")
    return path if path and b"/ld-" not in Path(path).read_bytes()[:4096] else ""


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)
