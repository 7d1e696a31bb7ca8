import pytest

from crishim import model
from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec import bundle, limits, namespaces
from crishim.spec.inputs import Host

from .conftest import Apply, Make


def test_no_new_privs(make: Make, apply: Apply) -> None:
    """no_new_privs is passed on, true or false."""
    config = cri.ContainerConfig()
    for wanted in (True, False):
        config.linux.security_context.no_new_privs = wanted
        assert apply(limits.no_new_privileges, make(config=config)).spec["process"]["noNewPrivileges"] is wanted


@pytest.mark.fact("hugepages, unified, swap, cpuset, oom_score_adj")
@pytest.mark.parametrize(
    ("asked", "floor", "given", "noted"),
    [(500, -1000, 500, False), (-997, -1000, -997, False), (-997, 0, 0, True), (0, 0, 0, False), (0, 100, 100, True)],
)
def test_oom_score_is_clamped_to_what_the_daemon_may_set(
    make: Make, apply: Apply, asked: int, floor: int, given: int, noted: bool
) -> None:
    """oom_score_adj: without CAP_SYS_RESOURCE the floor is our own score, and a note says so."""
    config = cri.ContainerConfig()
    config.linux.resources.oom_score_adj = asked
    draft = apply(limits.oom_score, make(config=config, host=Host(oom_floor=floor)))
    assert draft.spec["process"]["oomScoreAdj"] == given
    assert bool(draft.notes) == noted


def test_no_resources_no_oom_score(make: Make, apply: Apply) -> None:
    """Without resources in the request the container inherits the score."""
    assert "oomScoreAdj" not in apply(limits.oom_score, make()).spec["process"]


def test_oom_score_out_of_range() -> None:
    """The kernel's range is -1000 to 1000."""
    with pytest.raises(CrishimError) as caught:
        limits.clamp_oom_score(1001, Host(), [])
    assert caught.value.kind is Kind.INVALID


def test_rlimits_are_the_daemons(make: Make, apply: Apply) -> None:
    """Said explicitly, infinity as 2^64-1; none if nothing is known."""
    host = Host(rlimits={"RLIMIT_NOFILE": (1024, 4096), "RLIMIT_CORE": (0, -1)})
    assert apply(limits.rlimits, make(host=host)).spec["process"]["rlimits"] == [
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 2**64 - 1},
        {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096},
    ]
    assert "rlimits" not in apply(limits.rlimits, make()).spec["process"]


BASE = bundle.base()["linux"]


def fenced(make: Make, apply: Apply, config: cri.ContainerConfig) -> tuple[list[str], list[str]]:
    linux = apply(limits.masked_and_readonly_paths, make(config=config)).spec["linux"]
    return linux["maskedPaths"], linux["readonlyPaths"]


def test_masked_paths_default(make: Make, apply: Apply) -> None:
    """A request without a security context is fenced by the base's lists."""
    assert fenced(make, apply, cri.ContainerConfig()) == (BASE["maskedPaths"], BASE["readonlyPaths"])


def test_masked_paths_of_the_request(make: Make, apply: Apply) -> None:
    """The request's lists replace the base's; empty ones are procMount Unmasked."""
    config = cri.ContainerConfig()
    config.linux.security_context.masked_paths.append("/m")
    assert fenced(make, apply, config) == (["/m"], [])


def test_privileged_is_not_fenced(make: Make, apply: Apply) -> None:
    """Whatever the lists say."""
    config = cri.ContainerConfig()
    config.linux.security_context.privileged = True
    config.linux.security_context.masked_paths.append("/m")
    assert fenced(make, apply, config) == ([], [])


def test_sysctls_only_for_an_ipc_namespace_of_its_own(make: Make, apply: Apply) -> None:
    """The pod's namespaces have theirs already; a new IPC namespace gets the pod's IPC sysctls and no others."""
    pod = cri.PodSandboxConfig()
    pod.linux.sysctls.update({"kernel.shmmax": "1", "kernel/msgmax": "2", "net.ipv4.ip_forward": "1"})
    own = cri.ContainerConfig()
    own.linux.security_context.namespace_options.ipc = cri.CONTAINER
    for config, expected in ((cri.ContainerConfig(), None), (own, {"kernel.shmmax": "1", "kernel/msgmax": "2"})):
        inputs = make(config=config, pod=pod, namespaces=model.NamespacePaths(ipc="/n/ipc", pid="/n/pid"))
        draft = apply(namespaces.namespaces, inputs)
        limits.ipc_sysctls(draft, inputs)
        assert draft.spec["linux"].get("sysctl") == expected
