"""Launcher: makes a container's bundle and config.json, and has conmon and the OCI runtime create it."""

import logging
import shutil
import socket
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from crishim import signals
from crishim.cdi.edits import Edits, apply
from crishim.engine import conmon
from crishim.engine.handlers import Handlers
from crishim.engine.runtime import Runtime
from crishim.engine.sandbox import Sandboxes
from crishim.errors import CrishimError, Kind
from crishim.ids import is_id
from crishim.images import image_config
from crishim.lifecycle import ContainerState
from crishim.linux import async_files, cgroups, directories, executors, mounts, record_files, slices
from crishim.linux.apparmor import DefaultProfile
from crishim.linux.limiter import Limiter
from crishim.linux.pod_paths import PodPaths
from crishim.model import ContainerRecord, ImageRecord, PodRecord, ProcessRef
from crishim.operations.filesystems import PreparedRoot
from crishim.pb import cri_pb2 as cri
from crishim.spec import selinux
from crishim.spec.apparmor import wants_default
from crishim.spec.build import Built, Host, Inputs, build
from crishim.spec.inputs import security_context
from crishim.spec.proc_mounts import find_mount_over_proc

log = logging.getLogger("crishim.launch")


class LaunchSettings(msgspec.Struct, frozen=True):
    conmon: str  # absolute path
    systemd_cgroups: bool
    pids_limit: int  # 0: none
    launcher: str = ""  # static busybox, for environments that are not UTF-8; "": none on this host


class Drafted(NamedTuple):
    """A spec that is built and not written yet, and its inputs."""

    built: Built
    inputs: Inputs


class Launcher:
    """Writes bundles, and has conmon create containers from them."""

    def __init__(
        self,
        run_dir: Path,
        handlers: Handlers,
        sandboxes: Sandboxes,
        host: Host,
        settings: LaunchSettings,
        limiter: Limiter,
        paths: PodPaths,
        apparmor: DefaultProfile,
    ) -> None:
        self._root = run_dir / "containers"
        self._handlers = handlers
        self._sandboxes = sandboxes
        self._host = host
        self._settings = settings
        self._limiter = limiter
        self._paths = paths
        self._apparmor = apparmor
        self._noted: set[str] = set()

    def bundle(self, container_id: str) -> Path:
        return self._root / container_id

    def runtime(self, container: ContainerRecord) -> Runtime:
        return self._handlers.get(container.handler)

    def cgroup(self, pod: PodRecord, container_id: str) -> str:
        """The container's cgroup below the root of each hierarchy."""
        return slices.of_container(pod.cgroup_parent, container_id, self._settings.systemd_cgroups)

    def pod_cgroup(self, pod: PodRecord) -> str:
        """The pod's cgroup below the root of each hierarchy."""
        return str(PurePosixPath(self.cgroup(pod, pod.id)).parent)

    async def draft(
        self,
        pod: PodRecord,
        container: ContainerRecord,
        image: ImageRecord,
        prepared: PreparedRoot,
        edits: Edits,
        target: str,
    ) -> Drafted:
        """Build the spec. Raises what its editors do.

        edits: of the CDI devices that the request names. target: of target_namespace(). Raises DEADLINE, naming the
        path (device, profile, volume), if one does not answer; PRECONDITION, INTERNAL if the default AppArmor profile
        cannot be loaded.
        """
        features = await self.runtime(container).features()
        inputs = self._inputs(pod, container, image, prepared, features, target)
        if inputs.host.apparmor and wants_default(security_context(inputs)):
            host = replace(inputs.host, apparmor_default=await self._apparmor.ready())
            inputs = replace(inputs, host=host)

        def look_up() -> Built:
            built = build(inputs)
            if edits != Edits():
                apply(built.spec, edits)
            return built

        built = await self._paths.run(pod.id, look_up)
        self.say_once(built.notes, container.id)
        return Drafted(built, inputs)

    async def write_bundle(
        self, container: ContainerRecord, drafted: Drafted, net_devices: Mapping[str, Mapping[str, str]]
    ) -> None:
        """Write the spec, as it is now, to the bundle directory. net_devices: linux.netDevices."""
        spec, bundle = drafted.built.spec, self.bundle(container.id)
        if self._host.selinux:  # a volume may have millions of files
            relabel = partial(selinux.relabel_volumes, spec, drafted.inputs.mounts)
            await self._paths.run(container.pod_id, relabel, limit=self.runtime(container).timeout)
        if net_devices:
            spec["linux"]["netDevices"] = dict(net_devices)
        await executors.records(directories.own, bundle)
        await async_files.write(bundle / "config.json", drafted.built.encode())

    def say_once(self, notes: Iterable[str], container_id: str) -> None:
        """Log what this host made us limit or leave out: each text once per daemon."""
        for note in set(notes) - self._noted:
            self._noted.add(note)
            log.warning(note, extra={"container": container_id})

    def _inputs(
        self,
        pod: PodRecord,
        container: ContainerRecord,
        image: ImageRecord,
        prepared: PreparedRoot,
        features: Mapping[str, Any],
        target: str,
    ) -> Inputs:
        files = self._sandboxes.files(pod)
        config = container.parse_config()
        pod_config = pod.parse_config()
        return Inputs(
            container_id=container.id,
            config=config,
            pod=pod_config,
            record=pod,
            image=image_config.parse(image.config),
            rootfs=prepared.rootfs,
            cgroups_path=slices.oci_path(pod.cgroup_parent, container.id, self._settings.systemd_cgroups),
            host=self._host,
            features=features or None,
            target=target,
            mounts=prepared.mounts,
            hostname=pod_config.hostname or ("" if pod.namespaces.uts else socket.gethostname()),
            hostname_path=files.hostname,
            hosts_path=files.hosts,
            resolv_conf_path=files.resolv_conf,
            shm_path=files.shm,
            pids_limit=self._settings.pids_limit,
            launcher=self._settings.launcher,
        )

    async def create(self, container: ContainerRecord, log: str, images: Path | None = None) -> conmon.Launched:
        """Have conmon create the container of a written bundle. log: the path conmon writes it to, "" for none.

        images: criu's, from which it is restored instead; it runs then. Writes a copy of the record, without the
        processes, to the bundle: operations/adopt.py.
        """
        config = container.parse_config()
        launch = conmon.Launch(
            container_id=container.id,
            bundle=self.bundle(container.id),
            log_path=log,
            tty=config.tty,
            stdin=config.stdin,
            stdin_once=config.stdin_once,
            images=images,
        )
        await executors.records(record_files.write, launch.bundle / record_files.COPY, container)
        async with self._limiter.slot():
            return await conmon.create(self._settings.conmon, self.runtime(container), launch)

    async def verify(self, container: ContainerRecord, built: Built, process: ProcessRef) -> None:
        """Check a created container's mounts. Raises INVALID if one covers /proc: a volume's symlink was changed."""

        def look() -> str:
            return find_mount_over_proc(built.spec, mounts.table(process.pid))

        try:
            found = await executors.processes(look)
        except OSError as error:
            raise CrishimError(
                Kind.INTERNAL, f"container {container.id[:13]} ended while it was being created", container=container.id
            ) from error
        if found:
            raise CrishimError(
                Kind.INVALID,
                f"container {container.id[:13]}: a mount came to lie at {found}: a volume's symbolic link has changed",
                container=container.id,
            )

    async def discard(self, container: ContainerRecord) -> None:
        """Undo create() and write_bundle(), also if they were interrupted."""
        await self.end(container)
        await self.delete_bundle(container.id)

    async def end(self, container: ContainerRecord) -> None:
        """Kill the container and its conmon, and delete it from the runtime; may be repeated.

        A create or restore that is killed may have started a process without recording it: it is in the cgroup.
        """
        creating = container.state is ContainerState.CREATING or container.restore
        dead = container.state in (ContainerState.EXITED, ContainerState.REMOVING)
        await executors.processes(conmon.kill_monitor, self.bundle(container.id), search=creating)
        await self._handlers.get(container.handler).delete(container.id, dead=dead)
        if container.cgroup:
            await executors.processes(_empty, container.cgroup)

    async def delete_bundle(self, container_id: str) -> None:
        await executors.deletion(shutil.rmtree, self.bundle(container_id), ignore_errors=True)

    async def remove_orphans(self, keep: set[str]) -> None:
        """Delete the bundles of containers that are not in keep."""

        def work() -> None:
            for path in self._root.iterdir() if self._root.exists() else ():
                if is_id(path.name) and path.name not in keep:
                    conmon.kill_monitor(path)
                    shutil.rmtree(path, ignore_errors=True)

        await executors.deletion(work)

    def stop_signal(self, config: cri.ContainerConfig, image: ImageRecord) -> int:
        """The number of the signal StopContainer sends: the container's, else the image's, else SIGTERM."""
        if config.stop_signal != cri.SIGNAL_RUNTIME_DEFAULT:
            return signals.from_cri(config.stop_signal)
        name = (image_config.parse(image.config).get("config") or {}).get("StopSignal") or "SIGTERM"
        return signals.parse(str(name))


def _empty(cgroup: str) -> None:
    if cgroups.directories(cgroup):
        cgroups.kill(cgroup)
        cgroups.remove(cgroup)
