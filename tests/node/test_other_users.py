"""Other users of the node, and the roots of other pods' user namespaces, get at nothing of a pod."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.stranger import NOBODY, everything, reach, root_of
from tests.support.daemon import IMAGE, Daemon, scratch_daemon
from tests.support.pods import container_config, execute, pod_config, remove_pod, run_pod, start

pytestmark = pytest.mark.node
SETUID = "cp /bin/busybox /suid && chmod 4755 /suid && echo mine > /dev/shm/secret"


def mapped(first: int, pid: int = cri.CONTAINER) -> cri.PodSandboxConfig:
    """A pod with a user namespace whose root is this id of the node."""
    config = pod_config()
    options = config.linux.security_context.namespace_options
    options.pid = pid  # type: ignore[assignment]
    options.userns_options.mode = cri.POD
    for mappings in (options.userns_options.uids, options.userns_options.gids):
        mappings.add(container_id=0, host_id=first, length=65536)
    return config


def of_the_host() -> cri.PodSandboxConfig:
    config = pod_config()
    options = config.linux.security_context.namespace_options
    options.network = options.ipc = options.pid = cri.NODE
    return config


def busy_container() -> cri.ContainerConfig:
    """With a terminal and an image volume."""
    config = container_config(tty=True, stdin=True)
    config.mounts.add(container_path="/volume", image={"image": IMAGE}, readonly=True)
    return config


@pytest.fixture
def pods(daemon: Daemon) -> Iterator[dict[str, tuple[str, str]]]:
    """Pods of all kinds with a container each: name: (pod, container)."""
    wishes = {"plain": (pod_config(), "crun"), "host": (of_the_host(), "runc")}
    wishes |= {f"mapped {h}": (mapped(n << 20), h) for n, h in ((1, "crun"), (2, "runc"))}
    wishes |= {f"init {h}": (mapped(n << 20, cri.POD), h) for n, h in ((3, "crun"), (4, "runc"))}
    made = {}
    try:
        for name, (wish, handler) in wishes.items():
            pod = run_pod(daemon, wish, handler)
            made[name] = (pod, "")
            config = busy_container()
            if name[0] not in "mi":  # runc gives a user namespace a device under its own name only
                config.devices.add(host_path="/dev/null", container_path="/dev/mine", permissions="rw")
            config.linux.security_context.namespace_options.CopyFrom(wish.linux.security_context.namespace_options)
            made[name] = (pod, start(daemon, pod, config))
            assert execute(daemon, made[name][1], "sh", "-c", SETUID) == (0, "")
        yield made
    finally:
        for pod, _ in made.values():
            remove_pod(daemon, pod)
        Path("/dev/shm/secret").unlink(missing_ok=True)  # the pod with the host's IPC namespace


def assert_closed(daemon: Daemon, pods: dict[str, tuple[str, str]]) -> None:
    """Nobody, and the root of each user namespace, see names at most; a root passes to its own pod alone."""
    paths = everything(daemon.state, daemon.run)
    assert sum(path.endswith("/suid") for path in paths) == 2 * len(pods)
    assert sum(path.endswith("/shm/secret") for path in paths) == len(pods) - 1
    passages = {str(daemon.run / name) for name in ("", "pods", "roots")}
    names = {path for path in paths if str(Path(path).parent) in passages} | {str(daemon.run), str(daemon.state)}
    who = {"nobody": NOBODY}
    who |= {n: root_of(str(daemon.run / "pods" / p / "ns/user")) for n, (p, _) in pods.items() if n[0] in "mi"}
    for name, command in who.items():
        own = [str(daemon.run / d / id) for d, id in zip(("pods", "roots"), pods.get(name, ()), strict=False)]

        def foreign(found: set[str], own: list[str] = own) -> set[str]:
            return {path for path in found if not any(f"{path}/".startswith(f"{o}/") for o in own)}

        reached = reach(command, paths)
        assert foreign(reached.seen) <= names, name
        assert foreign(reached.entered) == passages, name
        assert foreign(reached.opened) == set(), name
        assert not set(own) & reached.opened, name  # passed, not listed


def test_nothing_can_be_reached(daemon: Daemon, pods: dict[str, tuple[str, str]]) -> None:
    """While pods of all kinds run: their files, their /dev/shm, the images, the daemon's own."""
    assert_closed(daemon, pods)


def test_setuid_files_and_shared_memory(daemon: Daemon, pods: dict[str, tuple[str, str]]) -> None:
    """A setuid program a container made is not run by the node's users, its /dev/shm not read or written."""
    pod, container = pods["plain"]
    for program in (
        daemon.state / "writable" / container / "upper/suid",
        daemon.run / "roots" / container / "rootfs/suid",
    ):
        assert program.stat().st_mode & 0o4111
        # Through a shell: setpriv itself still has its capabilities when it executes.
        done = subprocess.run([*NOBODY, "sh", "-c", f"{program} id"], capture_output=True, text=True, check=False)
        assert "Permission denied" in done.stderr
    secret = daemon.run / "pods" / pod / "shm/secret"
    assert secret.read_text() == "mine\n"
    for command in (f"cat {secret}", f"echo theirs > {secret}", f"echo x > {secret.parent}/new"):
        done = subprocess.run([*NOBODY, "sh", "-c", command], capture_output=True, text=True, check=False)
        assert "Permission denied" in done.stderr, command


def test_what_an_older_version_left_open(daemon: Daemon, pods: dict[str, tuple[str, str]]) -> None:
    """A start closes the directories of an older version; its pods live on and take new containers."""
    daemon.stop()
    for path in (daemon.state, daemon.run):
        path.chmod(0o711)
    opened = [daemon.run / n for n in ("pods", "roots", "containers", "runtime")] + [daemon.state / "writable"]
    for parent in opened:
        parent.chmod(0o755)
        for path in parent.iterdir():
            path.chmod(0o755)
    assert reach(NOBODY, everything(daemon.state, daemon.run)).opened
    daemon.start()
    assert_closed(daemon, pods)
    for pod, container in pods.values():
        assert execute(daemon, container, "cat", "/volume/etc/hosts")[0] in (0, 1)
        assert execute(daemon, container, "test", "-u", "/suid") == (0, "")
        options = daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status.linux.namespaces.options
        config = container_config("second")
        config.linux.security_context.namespace_options.CopyFrom(options)
        assert execute(daemon, start(daemon, pod, config), "echo", "up") == (0, "up\n")


def test_the_distributions_runc(busybox_archive: Path) -> None:
    """User namespaces with an image volume and a shared init under an older runc, which has to reach all of it."""
    runc = shutil.which("runc", path="/usr/sbin:/usr/bin")
    with scratch_daemon(runtimes={"default": "runc", "handlers": {"runc": {"path": runc}}}) as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        for pid in (cri.CONTAINER, cri.POD):
            wish = mapped(1 << 20, pid)
            pod = run_pod(daemon, wish)
            config = busy_container()
            config.linux.security_context.namespace_options.CopyFrom(wish.linux.security_context.namespace_options)
            assert execute(daemon, start(daemon, pod, config), "test", "-x", "/volume/bin/busybox") == (0, "")
            remove_pod(daemon, pod)
