"""Node: the stores of records and the drivers, opened from the settings.

Every operation takes the Node as its first argument; drivers and spec editors do not get it. It is frozen: state that
changes is in the stores and drivers.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from crishim import device_rules
from crishim.base_node import BaseNode
from crishim.cdi.edits import Registry
from crishim.cni.directory import ConfigDirectory
from crishim.config import Config, ConfigError
from crishim.config_paths import find_program
from crishim.engine.exec.limits import ExecLimits
from crishim.engine.init import Inits
from crishim.engine.sandbox import Sandboxes
from crishim.errors import CrishimError
from crishim.images.holds import Holds
from crishim.images.rootfs import RootFilesystems
from crishim.images.skopeo import Skopeo, StoreDirectories
from crishim.images.store import ImageStore
from crishim.images.transport import Transport
from crishim.images.usage import StoreMeter, measure
from crishim.lifecycle import ContainerState, PodState, check_container, check_pod
from crishim.linux import slices
from crishim.linux.apparmor import DefaultProfile
from crishim.linux.pod_paths import PodPaths
from crishim.model import ContainerRecord, PodRecord
from crishim.netdev.driver import NetDevices
from crishim.netdev.policy import Policy, Terms
from crishim.nri.plugins import Plugins as NriPlugins
from crishim.nri.settings import from_config as nri_settings
from crishim.operations.adopt import Adoption
from crishim.operations.filesystems import Filesystems, Places
from crishim.operations.fix_modes import fix_modes
from crishim.operations.launch import Launcher, LaunchSettings
from crishim.pb import cri_pb2 as cri
from crishim.spec import bundle
from crishim.spec.build import Host
from crishim.state.locks import Locks
from crishim.state.names import Name, Names, container_name, pod_name
from crishim.state.store import Store
from crishim.state.subscribers import Subscribers
from crishim.stats.block_devices import BlockDevices
from crishim.stats.cgroups import Cgroups
from crishim.stats.layers import Layers
from crishim.stats.provider import StatsProvider

log = logging.getLogger("crishim")


class StreamUrls(Protocol):
    """Makes the streaming server's URLs (cri/stream/server.py)."""

    def exec_url(self, request: cri.ExecRequest) -> str: ...
    def attach_url(self, request: cri.AttachRequest) -> str: ...
    def port_forward_url(self, request: cri.PortForwardRequest) -> str: ...


@dataclass(frozen=True, eq=False, repr=False)
class Node(BaseNode):
    """The stores and drivers, one of each."""

    # records
    pods: Store[PodRecord]
    containers: Store[ContainerRecord]
    names: Names
    locks: Locks
    # pods
    sandboxes: Sandboxes
    inits: Inits
    # devices
    cdi: Registry
    netdevices: NetDevices
    # images
    images: ImageStore
    transport: Transport
    image_holds: Holds
    image_usage: StoreMeter
    # containers
    filesystems: Filesystems
    launcher: Launcher
    paths: PodPaths
    host: Host
    exec_limits: ExecLimits
    nri: NriPlugins
    # statistics
    stats: StatsProvider
    layers: Layers
    block_devices: BlockDevices
    # clients
    subscribers: Subscribers[Any]
    streams: StreamUrls


class Checks(Protocol):
    """Checks of well-formed records (cri/record_checks.py): each raises if a record's values cannot be used."""

    def pod(self, record: PodRecord) -> None: ...
    def container(self, record: ContainerRecord) -> None: ...


def open_node(base: BaseNode, checks: Checks, streams: StreamUrls) -> Node:
    """Read the records and make the drivers; starts nothing. Blocks.

    Raises ConfigError for a program that is not installed.
    """
    config, handlers, limiter = base.config, base.handlers, base.limiter
    state, run = Path(config.state_dir), Path(config.run_dir)
    pods, containers = stores(state, checks)
    names = Names()
    cgroup_parent = slices.parent(config.pods.cgroup_parent, config.runtimes.cgroup_driver == "systemd")
    load_records(pods, containers, names, Adoption(run, cgroup_parent, config.runtimes.default))
    fix_modes(config, pods, containers)
    sandboxes = Sandboxes(run, config.pods.sysctls, cgroup_parent, config.pods.cgroup_roots)
    images, transport = open_images(config)
    holds = Holds(lambda: _images_in_use(containers))
    paths, host = PodPaths(config.runtimes.path_timeout), Host.probe()
    stats, layers = StatsProvider(Cgroups.probe()), Layers(measure)
    _forget_removed(pods, containers, stats, layers)
    return Node(
        **vars(base),
        pods=pods,
        containers=containers,
        names=names,
        locks=Locks(),
        sandboxes=sandboxes,
        inits=Inits(find_program(config.pods.init) or config.pods.init, bundle.read("init.json"), state),
        cdi=Registry([Path(d) for d in config.netdevices.cdi_dirs]),
        netdevices=_netdevices(config, base.network_configs),
        images=images,
        transport=transport,
        image_holds=holds,
        image_usage=StoreMeter(images),
        filesystems=Filesystems(
            images,
            holds,
            RootFilesystems(images.root),
            Places(state / "writable", run / "roots"),
            handlers,
            paths,
            create_missing=config.runtimes.missing_host_path == "create",
        ),
        launcher=Launcher(
            *(run, handlers, sandboxes, host, _launch_settings(config), limiter, paths),
            DefaultProfile(config.runtimes.apparmor_profile, bundle.read("apparmor.profile")),
        ),
        paths=paths,
        host=host,
        exec_limits=ExecLimits(),
        nri=NriPlugins(nri_settings(config)),
        stats=stats,
        layers=layers,
        block_devices=BlockDevices(),
        subscribers=Subscribers(),
        streams=streams,
    )


def stores(state_dir: Path, checks: Checks) -> tuple[Store[PodRecord], Store[ContainerRecord]]:
    """The records of pods and containers, not yet read."""
    return (
        Store(state_dir / "pods", PodRecord, "pod sandbox", lambda a, b: check_pod(a.state, b.state), checks.pod),
        Store(
            state_dir / "containers",
            ContainerRecord,
            "container",
            lambda a, b: check_container(a.state, b.state),
            checks.container,
        ),
    )


def load_records(pods: Store[PodRecord], containers: Store[ContainerRecord], names: Names, adoption: Adoption) -> None:
    """Read the records and reserve their names; a record in REMOVING reserves none. Blocks."""
    pods.load()
    containers.load()
    adoption.run(pods, containers)
    for pod in (p for p in pods if p.state is not PodState.REMOVING):
        m = pod.parse_config().metadata
        _reserve(names, pod_name(m.namespace, m.name, m.uid, m.attempt), pod.id, "pod sandbox")
    for container in (c for c in containers if c.state is not ContainerState.REMOVING):
        metadata = container.parse_config().metadata
        name = container_name(container.pod_id, metadata.name, metadata.attempt)
        _reserve(names, name, container.id, "container")
    pods.subscribe(lambda before, after: names.release(before.id) if before and _is_removed(before, after) else None)
    containers.subscribe(
        lambda before, after: names.release(before.id) if before and _is_removed(before, after) else None
    )


def _is_removed(before: PodRecord | ContainerRecord, after: PodRecord | ContainerRecord | None) -> bool:
    """Whether a change removes a pod or container for clients: to REMOVING, or of the record itself."""
    removing = (PodState.REMOVING, ContainerState.REMOVING)
    return before.state not in removing and (after is None or after.state in removing)


def _reserve(names: Names, name: Name, id: str, noun: str) -> None:
    """Reserve a name. A second record of the same name, which must be damaged or a copy, reserves none."""
    try:
        names.reserve(name, id, noun)
    except CrishimError as error:
        log.error(error.message, extra={"id": id})


def _forget_removed(
    pods: Store[PodRecord], containers: Store[ContainerRecord], stats: StatsProvider, layers: Layers
) -> None:
    """Drop the measurements of a pod or container with its record."""
    pods.subscribe(lambda before, after: stats.forget(before.id) if before and not after else None)
    containers.subscribe(lambda before, after: stats.forget(before.id) if before and not after else None)
    containers.subscribe(lambda before, after: layers.forget(before.id) if before and not after else None)


def _netdevices(config: Config, networks: ConfigDirectory) -> NetDevices:
    settings = config.netdevices
    terms = Terms(
        Policy(settings.allow),
        settings.allow_node_device,
        device_rules.node_addresses([*settings.node_addresses, config.stream.address]),
        networks.links,
    )
    return NetDevices(Path(config.state_dir) / "netdev", Path(config.run_dir) / "netdev", terms=terms)


def open_images(config: Config) -> tuple[ImageStore, Transport]:
    """The image store and its transport; `crishim images import` uses them without a daemon."""
    settings = config.images
    root = Path(settings.root) if settings.root else Path(config.state_dir) / "images"
    run = Path(config.run_dir)
    place = StoreDirectories(
        root=root, run=run / "images", scratch=Path(config.state_dir) / "downloads", secrets=run / "secrets"
    )
    skopeo = Skopeo(
        place,
        program=_program("images.skopeo", settings.skopeo),
        registries_conf=Path(settings.registries_conf) if settings.registries_conf else None,
        policy=Path(settings.policy) if settings.policy else None,
    )
    store = ImageStore(root, pinned=settings.pinned)
    return store, Transport(skopeo, store, pull_timeout=settings.pull_timeout)


def _launch_settings(config: Config) -> LaunchSettings:
    return LaunchSettings(
        conmon=_program("runtimes.conmon", config.runtimes.conmon),
        systemd_cgroups=config.runtimes.cgroup_driver == "systemd",
        pids_limit=config.runtimes.pids_limit,
        launcher=_static_busybox(),
    )


def _images_in_use(containers: Store[ContainerRecord]) -> set[str]:
    return {c.image_id for c in containers} | {m.image_id for c in containers for m in c.mounts if m.image_id}


def _program(key: str, name: str) -> str:
    path = find_program(name)
    if path is None:
        raise ConfigError(f"{key}: there is no program {name}")
    return path


def _static_busybox() -> str:
    """The busybox of PATH if it is static (has no ELF interpreter), so that it runs in any root file system; or ""."""
    path = find_program("busybox")
    return path if path and b"/ld-" not in Path(path).read_bytes()[:4096] else ""
