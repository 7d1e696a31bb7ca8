"""The init of a pod with a shared PID namespace: catatonit -P, which reaps processes. No other pod has one.

The pod's OCI runtime runs it, in a root file system with nothing but its program: in a shared PID namespace a container
with SYS_PTRACE can read /proc/1/root, which must not be the host's root. STATE_DIR/init is that root file system. It is
bind-mounted into the pod's directory, the only place where the root of a user namespace can reach it.
"""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import msgspec

from crishim.engine.runtime import Runtime
from crishim.engine.sandbox import root_group, user_mappings
from crishim.errors import CrishimError, Kind
from crishim.linux import directories, executors, mounts, namespaces, processes, programs, slices
from crishim.model import OwnerRange, PodRecord, ProcessRef

KILL_PATIENCE = 10.0  # seconds for the init and all processes of its PID namespace to exit

Mappings = tuple[tuple[OwnerRange, ...], tuple[OwnerRange, ...]]  # of uids and gids


class Inits:
    """Starts and ends the inits of pods."""

    def __init__(self, program: str, template: bytes, state_dir: Path) -> None:
        """program: absolute path of catatonit. template: the OCI configuration (bundles/init.json).

        state_dir: on a file system mounted without noexec, which /run often has.
        """
        self._program = program
        self._template = template
        self._rootfs = state_dir / "init"

    async def start(self, pod: PodRecord, directory: Path, runtime: Runtime) -> ProcessRef | None:
        """Start the init of a pod and pin its PID namespace to pod.namespaces.pid; None if the pod has none.

        directory: the pod's.
        """
        if not pod.namespaces.pid:
            return None
        linux = (await runtime.features()).get("linux") or {}
        # As for containers (spec/namespaces.py): runc before 1.2 needs the mappings again.
        mappings = user_mappings(pod.parse_config()) if "mountExtensions" not in linux else ((), ())
        await executors.records(self._write_bundle, pod, directory / "init", mappings, runtime.systemd)
        bundle = directory / "init"
        argv = [runtime.path, *runtime.global_arguments, "run", "--detach", "--bundle", str(bundle)]
        argv += ["--pid-file", str(bundle / "pidfile"), init_id(pod.id)]
        await programs.run_detaching(argv, log=bundle / "log", timeout=runtime.timeout)
        return await executors.kernel(self._pin, pod, bundle)

    async def stop(self, pod: PodRecord, runtime: Runtime) -> None:
        """Kill it, and so every process of its PID namespace; may be repeated."""
        dead = pod.init is not None
        if pod.init is not None:
            await executors.processes(processes.send_signal, pod.init, signal.SIGKILL)
            dead = await processes.wait_gone(pod.init, KILL_PATIENCE)
        await runtime.delete(init_id(pod.id), dead=dead)

    def _write_bundle(self, pod: PodRecord, bundle: Path, mappings: Mappings, systemd: bool) -> None:
        for name in ("", "proc", "dev", "sys"):
            directories.own(self._rootfs / name, directories.PUBLIC)
        program = self._rootfs / "catatonit"
        if not program.exists():
            temporary = self._rootfs / f".{pod.id}"
            shutil.copyfile(self._program, temporary)
            temporary.chmod(0o755)
            os.replace(temporary, program)  # noqa: PTH105
        spec: dict[str, Any] = msgspec.json.decode(self._template)
        spec["root"]["path"] = str(bundle / "rootfs")
        spec["linux"]["cgroupsPath"] = slices.oci_path(pod.cgroup_parent, init_id(pod.id), systemd)
        if systemd:
            spec["annotations"] = slices.ANNOTATIONS
        if pod.namespaces.user:
            spec["linux"]["namespaces"].append({"type": "user", "path": pod.namespaces.user})
        for key, ranges in zip(("uidMappings", "gidMappings"), mappings, strict=True):
            if ranges:
                spec["linux"][key] = [{"containerID": r.container, "hostID": r.host, "size": r.length} for r in ranges]
        directories.own(bundle, group=root_group(pod.parse_config()))
        directories.make_new(bundle / "rootfs")
        mounts.bind(self._rootfs, bundle / "rootfs")
        (bundle / "config.json").write_bytes(msgspec.json.encode(spec))

    def _pin(self, pod: PodRecord, bundle: Path) -> ProcessRef:
        reference = processes.reference(int((bundle / "pidfile").read_text()))
        if reference is None:
            raise CrishimError(Kind.INTERNAL, f"the init of pod sandbox {pod.id[:13]} ended at once", pod=pod.id)
        namespaces.pin(f"/proc/{reference.pid}/ns/pid", Path(pod.namespaces.pid))
        return reference


def init_id(pod_id: str) -> str:
    """The container id of a pod's init, for the runtime."""
    return f"{pod_id}-init"
