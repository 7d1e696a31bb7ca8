"""Mounts: host paths, read-only, options, image volumes."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import IMAGE, Daemon, scratch_daemon
from tests.support.pods import container_config, create, execute, remove_pod, run_pod, start, status

pytestmark = pytest.mark.node
Code = grpc.StatusCode


@pytest.fixture
def pod(daemon: Daemon) -> Iterator[str]:
    id = run_pod(daemon)
    yield id
    remove_pod(daemon, id)


def refusal(daemon: Daemon, pod: str, mount: cri.Mount) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        create(daemon, pod, container_config("refused", mounts=[mount]))
    return caught.value.code(), caught.value.details()


@pytest.mark.fact("host_path")
def test_a_host_path_that_does_not_exist(busybox_archive: Path, tmp_path: Path) -> None:
    """host_path: with the setting one that does not exist is refused, with a text that names it and the setting."""
    with scratch_daemon(runtimes={"missing_host_path": "refuse"}) as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        pod = run_pod(daemon)
        missing = tmp_path / "missing"
        code, text = refusal(daemon, pod, cri.Mount(host_path=str(missing), container_path="/x"))
        assert code == Code.NOT_FOUND
        assert str(missing) in text
        assert "runtimes.missing_host_path" in text
        assert not missing.exists()
        remove_pod(daemon, pod)


@pytest.mark.fact("host_path")
def test_a_host_path_that_is_made(daemon: Daemon, pod: str, tmp_path: Path) -> None:
    """host_path: by default a missing directory is made, 0755, as kubelets expect it for a hostPath of type ""."""
    missing = tmp_path / "a/b"
    one = start(daemon, pod, container_config(mounts=[cri.Mount(host_path=str(missing), container_path="/x")]))
    assert execute(daemon, one, "sh", "-c", "echo hi > /x/f")[0] == 0
    assert (missing / "f").read_text() == "hi\n"
    assert missing.stat().st_mode & 0o7777 == 0o755


@pytest.mark.fact("host_path")
def test_a_symlink_is_resolved(daemon: Daemon, pod: str, tmp_path: Path) -> None:
    """host_path: a symbolic link is followed; the status has the mount as it was asked for."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real/f").write_text("here")
    (tmp_path / "link").symlink_to("real")
    mount = cri.Mount(host_path=str(tmp_path / "link"), container_path="/x", readonly=True)
    one = start(daemon, pod, container_config(mounts=[mount]))
    assert execute(daemon, one, "cat", "/x/f") == (0, "here")
    assert list(status(daemon, one).mounts) == [mount]


@pytest.mark.fact("recursive_read_only")
@pytest.mark.parametrize(
    "wrong",
    [
        cri.Mount(recursive_read_only=True, readonly=False),
        cri.Mount(recursive_read_only=True, readonly=True, propagation=cri.PROPAGATION_HOST_TO_CONTAINER),
        cri.Mount(recursive_read_only=True, readonly=True, propagation=cri.PROPAGATION_BIDIRECTIONAL),
    ],
)
def test_recursive_read_only(daemon: Daemon, pod: str, wrong: cri.Mount) -> None:
    """recursive_read_only: refused without readonly and with any propagation but PRIVATE."""
    wrong.host_path, wrong.container_path = "/tmp", "/x"
    code, text = refusal(daemon, pod, wrong)
    assert code == Code.INVALID_ARGUMENT
    assert "recursive_read_only" in text


@pytest.mark.fact("mount_options")
@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_mount_options(daemon: Daemon, tmp_path: Path, handler: str) -> None:
    """mount_options: noexec, nodev and nosuid are in force; any other is refused."""
    pod = run_pod(daemon, handler=handler)
    mount = cri.Mount(host_path=str(tmp_path), container_path="/x", mount_options=["noexec", "nodev", "nosuid"])
    one = start(daemon, pod, container_config(mounts=[mount]))
    (line,) = [text for text in execute(daemon, one, "cat", "/proc/mounts")[1].splitlines() if " /x " in text]
    assert {"noexec", "nodev", "nosuid"} <= set(line.split()[3].split(","))
    assert list(status(daemon, one).mounts) == [mount]
    mount.mount_options.append("suid")
    code, text = refusal(daemon, pod, mount)
    assert code == Code.INVALID_ARGUMENT
    assert "'suid'" in text
    remove_pod(daemon, pod)


def image_volume(**fields: object) -> cri.Mount:
    return cri.Mount(container_path="/x", image=cri.ImageSpec(image=IMAGE), readonly=True, **fields)  # type: ignore[arg-type]


@pytest.mark.fact("image_ref of an image volume", "image volumes")
@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_image_volume(daemon: Daemon, handler: str) -> None:
    """Image volumes: read-only, with a sub path, and the status names the image's digest for the kubelet."""
    pod = run_pod(daemon, handler=handler)
    one = start(daemon, pod, container_config(mounts=[image_volume(image_sub_path="etc")]))
    assert "root:" in execute(daemon, one, "cat", "/x/passwd")[1]
    assert execute(daemon, one, "touch", "/x/new")[0] != 0
    (mount,) = status(daemon, one).mounts
    ref = daemon.call("ImageStatus", image=cri.ImageSpec(image=IMAGE)).image.id
    assert mount.image.image_ref == ref
    assert (mount.image.image, mount.image_sub_path, mount.host_path) == (IMAGE, "etc", "")
    remove_pod(daemon, pod)


@pytest.mark.fact("image volumes")
def test_image_volume_rules(daemon: Daemon, pod: str) -> None:
    """Image volumes: readonly=false, a host path, and a sub path that leaves, is missing or no directory: refused."""
    writable = image_volume()
    writable.readonly = False
    assert refusal(daemon, pod, writable)[0] == Code.INVALID_ARGUMENT
    assert refusal(daemon, pod, image_volume(host_path="/tmp"))[0] == Code.INVALID_ARGUMENT
    for bad in ("../etc", "/etc", "etc/../../etc"):
        assert refusal(daemon, pod, image_volume(image_sub_path=bad))[0] == Code.INVALID_ARGUMENT
    for bad in ("no/such", "etc/passwd"):
        code, text = refusal(daemon, pod, image_volume(image_sub_path=bad))
        assert code == Code.UNKNOWN
        assert text.startswith("ImageVolumeMountFailed")
        assert bad in text
    absent = image_volume()
    absent.image.image = "localhost/none:1"
    code, text = refusal(daemon, pod, absent)
    assert code == Code.UNKNOWN
    assert text.startswith("ImageVolumeMountFailed")
