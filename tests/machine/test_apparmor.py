"""AppArmor profiles of containers, on a kernel that has it: what the kernel says each process runs under."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from crishim.linux import apparmor
from crishim.pb import cri_pb2 as cri
from tests.support.busybox import daemon_with
from tests.support.daemon import Daemon
from tests.support.pods import container_config, create, execute, pod_config, remove_pod, run_pod, start

Profile = cri.SecurityProfile
OWN = "crishim-default (enforce)"
# Nothing may be written; else all is allowed.
LOCAL = "profile crishim-test flags=(attach_disconnected) { file, network, signal, ptrace, unix, deny /** w, }"


@pytest.fixture(scope="module")
def daemon(busybox_archive: Path) -> Iterator[Daemon]:
    """With one cgroup driver: profiles have nothing to do with it."""
    with daemon_with(busybox_archive) as daemon:
        yield daemon


@pytest.fixture(params=["crun", "runc"])
def pod(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[str]:
    id = run_pod(daemon, handler=request.param)
    yield id
    remove_pod(daemon, id)


@pytest.fixture
def local() -> Iterator[str]:
    """A profile of the administrator's, loaded."""
    subprocess.run(["apparmor_parser", "--replace"], input=LOCAL.encode(), check=True)
    yield "crishim-test"
    subprocess.run(["apparmor_parser", "--remove"], input=LOCAL.encode(), check=True)


def asking(kind: "Profile.ProfileType.ValueType | None" = None, name: str = "") -> cri.ContainerConfig:
    config = container_config()
    if kind is not None:
        config.linux.security_context.apparmor.CopyFrom(Profile(profile_type=kind, localhost_ref=name))
    return config


def label(daemon: Daemon, container: str) -> str:
    """What the kernel confines the container's first process with."""
    pid = json.loads(daemon.call("ContainerStatus", container_id=container, verbose=True).info["info"])["pid"]
    return Path(f"/proc/{pid}/attr/current").read_text().strip()


@pytest.mark.parametrize("kind", [None, Profile.RuntimeDefault])
def test_by_default_it_is_our_profile(daemon: Daemon, pod: str, kind: "Profile.ProfileType.ValueType | None") -> None:
    """The container and what is executed in it; ordinary work goes on, and what the profile denies fails."""
    container = start(daemon, pod, asking(kind))
    assert label(daemon, container) == OWN
    assert execute(daemon, container, "cat", "/proc/self/attr/current") == (0, f"{OWN}\n")
    assert execute(daemon, container, "sh", "-c", "echo x > /tmp/x && cat /tmp/x && kill -0 1")[0] == 0
    assert execute(daemon, container, "cat", "/proc/kcore")[0] != 0


def test_it_is_loaded_again(daemon: Daemon, pod: str) -> None:
    """aa-remove-unknown takes away what no file in /etc/apparmor.d names."""
    start(daemon, pod, asking())
    Path("/sys/kernel/security/apparmor/.remove").write_text(apparmor.OWN)
    again = container_config(name="again")
    assert label(daemon, start(daemon, pod, again)) == OWN


def test_unconfined(daemon: Daemon, pod: str) -> None:
    """By name."""
    assert label(daemon, start(daemon, pod, asking(Profile.Unconfined))) == "unconfined"


def test_privileged(daemon: Daemon) -> None:
    """A privileged container that asks for nothing has no profile."""
    sandbox = pod_config()
    sandbox.linux.security_context.privileged = True
    pod = run_pod(daemon, sandbox)
    config = container_config()
    config.linux.security_context.privileged = True
    assert label(daemon, start(daemon, pod, config)) == "unconfined"
    remove_pod(daemon, pod)


def test_localhost(daemon: Daemon, pod: str, local: str) -> None:
    """The administrator's profile, for commands executed in the container as well."""
    container = start(daemon, pod, asking(Profile.Localhost, f"localhost/{local}"))
    assert label(daemon, container) == f"{local} (enforce)"
    code, _ = execute(daemon, container, "sh", "-c", "echo x > /tmp/x")
    assert code != 0


def test_a_profile_that_is_not_loaded(daemon: Daemon, pod: str) -> None:
    """Refused, and named."""
    with pytest.raises(grpc.RpcError, match="'nowhere' is not loaded"):
        create(daemon, pod, asking(Profile.Localhost, "localhost/nowhere"))
