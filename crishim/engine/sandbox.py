"""A pod's sandbox, before any container: pinned namespaces; hostname, hosts and resolv.conf; /dev/shm.

It is in RUN_DIR/pods/ID/, which only root and the root of the pod's user namespace may enter:
    ns/{net,ipc,uts,user,pid}   handles, bind mounts of nsfs
    hostname hosts resolv.conf  files the containers see, unless they mount their own
    shm                         tmpfs of the pod's IPC namespace
    init/                       bundle of the init of a shared PID namespace (init.py)
    record.json                 copy of the pod's record at its creation: operations/adopt.py
"""

import fcntl
import shutil
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from crishim.errors import CrishimError, Kind
from crishim.linux import async_files, directories, executors, libc, mounts, namespaces, record_files, slices, userns
from crishim.model import NamespacePaths, OwnerRange, PodRecord
from crishim.pb import cri_pb2 as cri

SHM_BYTES = 64 << 20
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1  # netdevice(7)


class SandboxFiles(msgspec.Struct, frozen=True):
    """Paths on the host of a pod's files; shm is "" where the pod uses the host's IPC namespace."""

    hostname: str
    hosts: str
    resolv_conf: str
    shm: str


class Sandboxes:
    """The pods' directories below the run directory."""

    def __init__(
        self, run_dir: Path, sysctls: Mapping[str, str], cgroup_parent: str, cgroup_roots: Sequence[str] = ()
    ) -> None:
        """sysctls: of every pod that has their namespace; the pod's own have precedence.

        cgroup_parent: of pods for which the client names no cgroup. cgroup_roots: where else a client may put pods.
        """
        self._cgroup_roots = (cgroup_parent, *cgroup_roots)
        self._root = run_dir / "pods"
        self._cgroup_parent = cgroup_parent
        self._sysctls = sysctls

    def directory(self, pod_id: str) -> Path:
        return self._root / pod_id

    def plan(self, pod_id: str, config: cri.PodSandboxConfig) -> NamespacePaths:
        """The paths of the namespaces that a pod with this configuration will have."""
        options = config.linux.security_context.namespace_options
        ns = self.directory(pod_id) / "ns"
        own_network = options.network != cri.NODE
        return NamespacePaths(
            net=str(ns / "net") if own_network else "",
            uts=str(ns / "uts") if own_network else "",  # a host-network pod keeps the host's name
            ipc=str(ns / "ipc") if options.ipc == cri.POD else "",
            user=str(ns / "user") if uses_user_namespace(config) else "",
            pid=str(ns / "pid") if options.pid == cri.POD else "",
        )

    def check_cgroup(self, config: cri.PodSandboxConfig) -> None:
        """Raise INVALID if the client names a cgroup that pods must not be in."""
        parent = config.linux.cgroup_parent
        if parent and not is_kubelets_cgroup(parent) and not any(is_at_or_below(parent, r) for r in self._cgroup_roots):
            raise CrishimError(
                Kind.INVALID,
                f"the cgroup parent {parent} is neither a kubelet's (below kubepods) nor at or below "
                f"{', '.join(self._cgroup_roots)} (settings pods.cgroup_parent, pods.cgroup_roots)",
                cgroup=parent,
            )

    def cgroup(self, pod_id: str, config: cri.PodSandboxConfig) -> str:
        """The parent cgroup of a pod's containers: the kubelet's for this pod, or one of ours."""
        return config.linux.cgroup_parent or slices.of_pod(self._cgroup_parent, pod_id)

    def files(self, pod: PodRecord) -> SandboxFiles:
        d = self.directory(pod.id)
        shm = str(d / "shm") if pod.namespaces.ipc else ""
        return SandboxFiles(str(d / "hostname"), str(d / "hosts"), str(d / "resolv.conf"), shm)

    async def make(self, pod: PodRecord) -> None:
        """Make the sandbox, without its network. Call remove() after an error. Raises INVALID for a refused sysctl."""
        config = pod.parse_config()
        ns = self.directory(pod.id) / "ns"
        await executors.records(self._make_directories, pod)
        pins = {k: ns / k for k in ("net", "ipc", "uts") if getattr(pod.namespaces, k)}
        hostname = config.hostname or (socket.gethostname() if "uts" not in pins else pod.id[:13])
        wanted = dict(self._sysctls_for(pins)) | dict(config.linux.sysctls)

        def prepare() -> None:
            if "uts" in pins:
                libc.sethostname(hostname.encode())
            if "net" in pins:
                bring_loopback_up()
            for name, value in wanted.items():
                set_sysctl(name, value)

        if pod.namespaces.user:
            uids, gids = user_mappings(config)
            await userns.make(pins | {"user": ns / "user"}, uids, gids)
            await executors.kernel(namespaces.inside, {k: str(p) for k, p in pins.items()}, prepare)
        elif pins:
            await executors.kernel(namespaces.make, pins, prepare)
        await executors.kernel(self._write_files, pod, config, hostname)

    async def set_addresses(self, pod: PodRecord, ips: tuple[str, ...]) -> None:
        """Write the pod's name and addresses to its hosts file."""
        config = pod.parse_config()
        text = hosts_text(config.hostname or pod.id[:13], ips)
        await async_files.write(self.directory(pod.id) / "hosts", text.encode())

    async def remove(self, pod_id: str) -> None:
        """Unmount and delete the sandbox, as far as it exists."""
        await executors.kernel(_remove_tree, self.directory(pod_id))

    def is_whole(self, pod: PodRecord) -> bool:
        """Whether the pod's namespaces still exist; they do not after a reboot."""
        paths = (pod.namespaces.net, pod.namespaces.ipc, pod.namespaces.uts, pod.namespaces.user)
        return self.directory(pod.id).is_dir() and all(namespaces.is_pinned(p) for p in paths if p)

    def known(self) -> set[str]:
        """The ids of all sandboxes, with or without a record."""
        return {p.name for p in self._root.iterdir()} if self._root.exists() else set()

    def _make_directories(self, pod: PodRecord) -> None:
        directories.own(self.directory(pod.id), group=root_group(pod.parse_config()))
        directories.make_new(self.directory(pod.id) / "ns")

    def _sysctls_for(self, pins: Mapping[str, Path]) -> Mapping[str, str]:
        return {k: v for k, v in self._sysctls.items() if ("net" if k.startswith("net") else "ipc") in pins}

    def _write_files(self, pod: PodRecord, config: cri.PodSandboxConfig, hostname: str) -> None:
        d = self.directory(pod.id)
        record_files.write(d / record_files.COPY, pod)
        (d / "hostname").write_text(hostname + "\n")
        own_network = bool(pod.namespaces.net)
        (d / "hosts").write_text(hosts_text(hostname, ()) if own_network else _host_file("/etc/hosts"))
        dns = config.dns_config
        text = resolv_conf(dns) if config.HasField("dns_config") else _host_file("/etc/resolv.conf")
        (d / "resolv.conf").write_text(text)
        if pod.namespaces.ipc:
            directories.make_new(d / "shm")
            owner = f",uid={first_host_id(config)[0]},gid={first_host_id(config)[1]}" if pod.namespaces.user else ""
            flags = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
            mounts.mount("tmpfs", "shm", d / "shm", flags=flags, data=f"mode=1777,size={SHM_BYTES}{owner}")


def is_kubelets_cgroup(parent: str) -> bool:
    """Whether a path is below the kubelet's cgroup kubepods, with any cgroupRoot.

    /kubepods/burstable/podUID, or with systemd the last component of /kubepods.slice/kubepods-podUID.slice.
    """
    *above, last = parent.strip("/").split("/")
    return "kubepods" in above or (last.endswith(".slice") and "kubepods" in last.split("-")[:-1])


def is_at_or_below(path: str, root: str) -> bool:
    """Whether a cgroup's path is root or below it."""
    return f"{path.rstrip('/')}/".startswith(f"{root.rstrip('/')}/")


def uses_user_namespace(config: cri.PodSandboxConfig) -> bool:
    options = config.linux.security_context.namespace_options
    return options.HasField("userns_options") and options.userns_options.mode == cri.POD


def user_mappings(config: cri.PodSandboxConfig) -> tuple[tuple[OwnerRange, ...], tuple[OwnerRange, ...]]:
    """(uids, gids) of the pod's user namespace; empty without one."""
    if not uses_user_namespace(config):
        return (), ()
    options = config.linux.security_context.namespace_options.userns_options

    def ranges(given: list[cri.IDMapping]) -> tuple[OwnerRange, ...]:
        return tuple(OwnerRange(container=m.container_id, host=m.host_id, length=m.length) for m in given)

    return ranges(list(options.uids)), ranges(list(options.gids))


def first_host_id(config: cri.PodSandboxConfig) -> tuple[int, int]:
    """The host uid and gid that are 0 inside the pod."""
    uids, gids = user_mappings(config)
    return next((r.host for r in uids if r.container == 0), 0), next((r.host for r in gids if r.container == 0), 0)


def root_group(config: cri.PodSandboxConfig) -> int | None:
    """The host's gid of the root of a pod's user namespace; None without one. See directories.own()."""
    return first_host_id(config)[1] if uses_user_namespace(config) else None


def resolv_conf(dns: cri.DNSConfig) -> str:
    """The text of a resolv.conf (resolv.conf(5))."""
    lines = [f"nameserver {server}" for server in dns.servers]
    lines += [f"search {' '.join(dns.searches)}"] if dns.searches else []
    lines += [f"options {' '.join(dns.options)}"] if dns.options else []
    return "".join(line + "\n" for line in lines)


def hosts_text(hostname: str, ips: tuple[str, ...]) -> str:
    """The text of a hosts file (hosts(5)): the loopback names, and the pod's own at each of its addresses."""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    return "".join(line + "\n" for line in lines + [f"{ip}\t{hostname}" for ip in ips])


def bring_loopback_up() -> None:
    """Set lo up in the calling thread's network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(s, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(s, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def set_sysctl(name: str, value: str) -> None:
    """Write a sysctl in the calling thread's namespaces; name has dots, or slashes where a dot is part of a name."""
    path = Path("/proc/sys") / (name if "/" in name else name.replace(".", "/"))
    if ".." in path.parts:
        raise CrishimError(Kind.INVALID, f"sysctl {name!r} is no name of a sysctl")
    try:
        path.write_text(value)
    except OSError as error:
        raise CrishimError(Kind.INVALID, f"sysctl {name}={value} is refused: {error.strerror}", sysctl=name) from error


def _host_file(path: str) -> str:
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return ""


def _remove_tree(directory: Path) -> None:
    if not directory.exists():
        return
    for target in mounts.below(directory):
        mounts.unmount(target)
    shutil.rmtree(directory, ignore_errors=False)
