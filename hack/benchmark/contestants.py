"""Who is measured: crishim, containerd and CRI-O side by side, idle but the one whose turn it is.

All have the same CNI configuration, OCI runtimes, images and registry, and directories on the same tmpfs. A peer that
cannot be had is left out and named with the reason.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crishim.pb import cri_pb2 as cri
from hack.benchmark.crio import CriO
from hack.benchmark.ground import PARENTS, archive, groups, load_busybox
from hack.critest import MIRRORED, registries_conf
from hack.kubelet.peer import PAUSE, Containerd
from hack.peer import Peer
from tests.support.daemon import IMAGE, Daemon
from tests.support.pods import pod_config

CRUN, RUNC, CONTAINERD, CRIO = "crishim, crun", "crishim, runc", "containerd, runc", "CRI-O, runc"
IMAGES = {IMAGE: (), PAUSE: ("sleep", "1000000")}


@dataclass(frozen=True)
class Contestant:
    """A running daemon, and the runtime handler to ask it for."""

    name: str
    daemon: Daemon
    handler: str = ""

    def pod_config(self, name: str = "", *, host_network: bool = False) -> cri.PodSandboxConfig:
        """A pod below the daemon's own cgroup, so that its end finds what runs: containerd's default is /k8s.io."""
        config = pod_config(name)
        if isinstance(self.daemon, Peer):
            config.linux.cgroup_parent = f"{self.daemon.cgroup}/{config.metadata.uid}"
        if host_network:
            config.linux.security_context.namespace_options.network = cri.NODE
        return config


def crishim(directory: Path, address: str) -> Daemon:
    conf = str(registries_conf(directory, address))
    return Daemon(directory, {"log": {"level": "info", "format": "json"}, "images": {"registries_conf": conf}})


def containerd(directory: Path, address: str) -> Daemon:
    daemon = Containerd(directory, "runc")
    for name in (*MIRRORED, address):
        place = directory / "registries" / name
        place.mkdir(parents=True)
        text = f'[host."http://{address}"]\n  capabilities = ["pull", "resolve"]\n'
        (place / "hosts.toml").write_text(f'server = "http://{address}"\n{text}')
    return daemon


def cri_o(directory: Path, address: str) -> Daemon:
    return CriO(directory, "runc", registries_conf(directory, address))


def start_with_images(daemon: Daemon) -> None:
    if isinstance(daemon, CriO):  # its storage is read at the start
        for name, words in IMAGES.items():
            daemon.load(archive(daemon.directory, name, words), name)
    daemon.start()
    if isinstance(daemon, Containerd):
        for name, words in IMAGES.items():
            daemon.load(archive(daemon.directory, name, words))
    elif not isinstance(daemon, CriO):
        load_busybox(daemon)


@contextlib.contextmanager
def running(recipe: Callable[[Path, str], Daemon], address: str = "127.0.0.1:1") -> Iterator[Daemon]:
    """A daemon with the images; everything of it is gone afterwards. Short names, as a socket's path has 107 bytes."""
    top = Path(tempfile.mkdtemp(prefix="cb-", dir="/dev/shm"))
    top.chmod(0o711)
    directory = top / top.name  # with a name of its own: its cgroups have it, too
    directory.mkdir()
    daemon, before = recipe(directory, address), groups(*PARENTS)
    try:
        start_with_images(daemon)
        yield daemon
    finally:
        daemon.delete()
        for path in groups(*PARENTS) - before:
            with contextlib.suppress(OSError):  # another one works in it still
                path.rmdir()
        shutil.rmtree(top, ignore_errors=True)


PEERS = {CONTAINERD: containerd, CRIO: cri_o}


@contextlib.contextmanager
def all_of(names: Sequence[str], address: str) -> Iterator[tuple[list[Contestant], dict[str, str]]]:
    """Those of the names that can be had, and why the others cannot."""
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(running(crishim, address))
        found, absent = [Contestant(CRUN, ours, "crun"), Contestant(RUNC, ours, "runc")], dict[str, str]()
        for name in names:
            try:
                found.append(Contestant(name, stack.enter_context(running(PEERS[name], address))))
            except (OSError, AssertionError, subprocess.CalledProcessError) as error:
                absent[name] = why_not_built(name) or reason(error)
        yield found, absent


def why_not_built(name: str) -> str:
    """What hack/setup noted when it could not build a peer; "" if it did."""
    note = Path(os.environ["CRISHIM_CACHE"]) / f"{name.partition(',')[0]}.missing"
    return note.read_text().strip() if note.exists() else ""


def reason(error: BaseException) -> str:
    """The last line of what went wrong."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300] if lines else ''}"
