"""What a container's configuration mounts, and the namespaces it joins, run by the real runtimes."""

import asyncio
import shutil
import subprocess

import pytest

from crishim import model
from crishim.errors import CrishimError
from crishim.linux import mounts, userns
from crishim.pb import cri_pb2 as cri
from crishim.spec.mounts import ImageVolume, resolve
from tests.node.spec_lab import Lab, secured, wait_for
from tests.node.spec_lab import lab as lab

pytestmark = pytest.mark.node


def test_mounts(lab: Lab) -> None:
    """Read-only and writable binds, a symlinked source, options, nesting in any order."""
    source = lab.directory / "src"
    (source / "inner").mkdir(parents=True)
    (source / "f").write_text("hello\n")
    shutil.copy("/bin/busybox", source / "echo")
    (lab.directory / "link").symlink_to("src")
    requests = [
        cri.Mount(container_path="/ro/inner", host_path=str(source / "inner")),
        cri.Mount(container_path="/ro", host_path=str(lab.directory / "link"), readonly=True),
        cri.Mount(container_path="/x", host_path=str(source), mount_options=["noexec", "nosuid", "nodev"]),
    ]
    prepared = resolve(requests, {}, create_missing=False, features=lab.features)
    script = (
        "cat /ro/f; touch /ro/g 2>/dev/null || echo read-only; touch /ro/inner/g && echo inner;"
        "/x/echo no 2>/dev/null || echo noexec; grep -c ' /x .*nosuid,nodev,noexec' /proc/mounts"
    )
    assert lab.run(script, mounts=prepared) == "hello\nread-only\ninner\nnoexec\n1\n"


@pytest.mark.parametrize(
    "mode", [cri.PROPAGATION_PRIVATE, cri.PROPAGATION_HOST_TO_CONTAINER, cri.PROPAGATION_BIDIRECTIONAL]
)
def test_propagation(lab: Lab, mode: "cri.MountPropagation.ValueType") -> None:
    """A mount made on the host while the container runs is seen with rslave and rshared; the reverse with rshared."""
    source = lab.directory / "shared"
    (source / "host").mkdir(parents=True)
    (source / "container").mkdir()
    mounts.bind(source, source)
    subprocess.run(["mount", "--make-shared", str(source)], check=True)
    request = cri.Mount(container_path="/m", host_path=str(source), propagation=mode)
    config = secured()
    config.linux.security_context.capabilities.add_capabilities.append("SYS_ADMIN")
    prepared = resolve([request], {}, create_missing=False, features=lab.features)
    script = (
        "mount -t tmpfs none /m/container; touch /m/container/flag /m/up;"
        "i=0; while ! [ -e /m/go ] && [ $i -lt 200 ]; do sleep 0.05; i=$((i+1)); done;"
        "[ -e /m/host/flag ] && echo seen; umount /m/container"
    )
    running = lab.start(script, config, mounts=prepared)
    wait_for((source / "up").exists)
    upward = (source / "container/flag").exists()
    mounts.mount("tmpfs", "none", source / "host")
    (source / "host/flag").touch()
    (source / "go").touch()
    out, err = running.communicate(timeout=20)
    assert running.returncode == 0, err
    mounts.unmount(source / "host")
    mounts.unmount(source)
    assert upward == (mode == cri.PROPAGATION_BIDIRECTIONAL)
    assert (out == b"seen\n") == (mode != cri.PROPAGATION_PRIVATE)


@pytest.mark.fact("recursive_read_only")
def test_recursive_read_only(lab: Lab) -> None:
    """Mounts below a recursively read-only one are read-only too, else they are not; or the request is refused."""
    source = lab.directory / "tree"
    (source / "sub").mkdir(parents=True)
    mounts.mount("tmpfs", "none", source / "sub")
    request = cri.Mount(container_path="/m", host_path=str(source), readonly=True)
    script = "touch /m/sub/x 2>/dev/null && echo writable || echo read-only"
    prepared = resolve([request], {}, create_missing=False, features=lab.features)
    assert lab.run(script, mounts=prepared) == "writable\n"
    request.recursive_read_only = True
    if "rro" in ((lab.features or {}).get("mountOptions") or ()):
        prepared = resolve([request], {}, create_missing=False, features=lab.features)
        assert lab.run(script, mounts=prepared) == "read-only\n"
    else:
        with pytest.raises(CrishimError, match="recursive read-only"):
            resolve([request], {}, create_missing=False, features=lab.features)
    mounts.unmount(source / "sub")


def test_image_volume_sub_path(lab: Lab) -> None:
    """The sub path of a mounted image, read-only, its absolute links resolved inside the image."""
    image = lab.directory / "image"
    (image / "srv/data").mkdir(parents=True)
    (image / "srv/data/f").write_text("inside\n")
    (image / "link").symlink_to("/srv/data")
    request = cri.Mount(container_path="/v", image=cri.ImageSpec(image="i"), readonly=True, image_sub_path="link")
    volume = ImageVolume(directory=str(image), image_id="sha256:1", image_ref="i@sha256:2")
    prepared = resolve([request], {"/v": volume}, create_missing=False, features=lab.features)
    assert lab.run("cat /v/f; touch /v/x 2>/dev/null || echo read-only", mounts=prepared) == "inside\nread-only\n"


def test_shared_memory_is_the_pods(lab: Lab) -> None:
    """What one container writes to /dev/shm the next one reads; one with its own IPC namespace does not."""
    lab.make_pod()
    shm = lab.directory / "shm"
    shm.mkdir(mode=0o1777)
    lab.run("echo hello > /dev/shm/f", shm_path=str(shm))
    assert lab.run("cat /dev/shm/f", shm_path=str(shm)) == "hello\n"
    own = secured()
    own.linux.security_context.namespace_options.ipc = cri.CONTAINER
    assert lab.run("ls /dev/shm", own, shm_path=str(shm)) == ""


def test_pod_files(lab: Lab) -> None:
    """/etc/hosts, hostname and resolv.conf are the pod's, where the image has none."""
    for name in ("hosts", "hostname", "resolv.conf"):
        (lab.directory / name).write_text(f"{name} of the pod\n")
    out = lab.run(
        "cat /etc/hostname /etc/hosts /etc/resolv.conf; echo $HOSTNAME",
        hostname="h1",
        hosts_path=str(lab.directory / "hosts"),
        hostname_path=str(lab.directory / "hostname"),
        resolv_conf_path=str(lab.directory / "resolv.conf"),
    )
    assert out == "hostname of the pod\nhosts of the pod\nresolv.conf of the pod\nh1\n"


@pytest.fixture
def users(lab: Lab) -> cri.PodSandboxConfig:
    """A pod with a user namespace; the root file system belongs to its root."""
    one = [cri.IDMapping(host_id=100000, container_id=0, length=65536)]
    pod = cri.PodSandboxConfig()
    pod.linux.security_context.namespace_options.userns_options.CopyFrom(cri.UserNamespace(uids=one, gids=one))
    ranges = [model.OwnerRange(container=0, host=100000, length=65536)]
    pins = {kind: lab.directory / f"ns-{kind}" for kind in ("user", "net", "ipc", "uts")}
    asyncio.run(userns.make(pins, ranges, ranges))
    lab.adopt(pins)
    subprocess.run(["chown", "-R", "100000:100000", str(lab.rootfs)], check=True)
    return pod


@pytest.mark.fact("user namespaces")
def test_user_namespace(lab: Lab, users: cri.PodSandboxConfig) -> None:
    """The pod's user namespace is joined: root inside is nobody outside, sysfs, mqueue and seccomp included."""
    config = secured(seccomp=cri.SecurityProfile(), run_as_user=cri.Int64Value(value=1000))
    out = lab.run("id -u; cat /proc/self/uid_map; ls -d /sys/class /dev/mqueue; touch /tmp/made", config, pod=users)
    assert out.split() == ["1000", "0", "100000", "65536", "/dev/mqueue", "/sys/class"]
    assert (lab.rootfs / "tmp/made").stat().st_uid == 101000


@pytest.mark.fact("user namespaces")
def test_idmapped_volume(lab: Lab, users: cri.PodSandboxConfig) -> None:
    """uidMappings and gidMappings of a mount: the node's root owns it on both sides; or the request is refused."""
    source = lab.directory / "volume"
    source.mkdir()
    one = [cri.IDMapping(host_id=100000, container_id=0, length=65536)]
    request = cri.Mount(container_path="/v", host_path=str(source), uidMappings=one, gidMappings=one)
    if not ((lab.features or {}).get("linux") or {}).get("mountExtensions", {}).get("idmap", {}).get("enabled"):
        with pytest.raises(CrishimError, match="idmapped"):
            resolve([request], {}, create_missing=False, features=lab.features)
        return
    prepared = resolve([request], {}, create_missing=False, features=lab.features)
    assert lab.run("stat -c %u:%g /v; touch /v/made", mounts=prepared, pod=users) == "0:0\n"
    assert (source / "made").stat().st_uid == 0
