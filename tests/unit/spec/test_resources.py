from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec import resources
from crishim.spec.inputs import Host

from .conftest import Apply, Make

V2, V1 = Host(cgroup_version=2), Host(cgroup_version=1)
MIB = 1 << 20


def oci(host: Host = V2, **fields: Any) -> dict[str, object]:
    return resources.to_oci(cri.LinuxContainerResources(**fields), host)


@pytest.mark.parametrize("host", [V1, V2], ids=["v1", "v2"])
def test_cpu(host: Host) -> None:
    """Shares, quota, period and cpuset, in the spec's v1 units on both."""
    fields: dict[str, Any] = {"cpu_shares": 512, "cpu_quota": 50000, "cpu_period": 100000}
    fields |= {"cpuset_cpus": "0-1", "cpuset_mems": "0"}
    assert oci(host, **fields) == {"cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0-1", "mems": "0"}}


def test_nothing_given_is_nothing_set() -> None:
    """Zero and "" mean "not given"."""
    assert oci() == {}


def test_memory_limit_without_swap_limit_means_no_swap() -> None:
    """memory.swap in the spec is memory and swap together."""
    assert oci(memory_limit_in_bytes=64 * MIB) == {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}


def test_memory_swap_limit() -> None:
    """memory_swap_limit_in_bytes is passed on, -1 is unlimited."""
    assert oci(memory_limit_in_bytes=64, memory_swap_limit_in_bytes=100)["memory"] == {"limit": 64, "swap": 100}
    assert oci(memory_limit_in_bytes=64, memory_swap_limit_in_bytes=-1)["memory"] == {"limit": 64, "swap": -1}


def test_memory_swap_below_memory_is_invalid() -> None:
    """No kernel accepts it."""
    with pytest.raises(CrishimError) as caught:
        oci(memory_limit_in_bytes=64, memory_swap_limit_in_bytes=63)
    assert caught.value.kind is Kind.INVALID


def test_a_kernel_that_does_not_count_swap() -> None:
    """No swap key there; a real swap limit is refused, one that equals memory is not."""
    host = Host(swap=False)
    assert oci(host, memory_limit_in_bytes=64, memory_swap_limit_in_bytes=64) == {"memory": {"limit": 64}}
    with pytest.raises(CrishimError, match="swap") as caught:
        oci(host, memory_limit_in_bytes=64, memory_swap_limit_in_bytes=128)
    assert caught.value.kind is Kind.PRECONDITION


def test_hugepage_limits() -> None:
    """hugepage_limits are passed on, zeros too; without the controller they are left out and non-zero ones noted."""
    limits = [cri.HugepageLimit(page_size="2MB", limit=4 * MIB), cri.HugepageLimit(page_size="1GB")]
    with_controller = Host(controllers=frozenset({"hugetlb"}))
    expected = [{"pageSize": "2MB", "limit": 4 * MIB}, {"pageSize": "1GB", "limit": 0}]
    assert oci(with_controller, hugepage_limits=limits) == {"hugepageLimits": expected}
    notes: list[str] = []
    assert resources.to_oci(cri.LinuxContainerResources(hugepage_limits=limits), V2, notes) == {}
    assert "hugetlb" in notes[0]
    notes.clear()
    resources.to_oci(cri.LinuxContainerResources(hugepage_limits=limits[1:]), V2, notes)
    assert notes == []


@pytest.mark.fact("hugepages, unified, swap, cpuset, oom_score_adj")
def test_unified() -> None:
    """unified is cgroup v2's; on v1 it cannot be carried out and is refused."""
    assert oci(V2, unified={"memory.high": "1"}) == {"unified": {"memory.high": "1"}}
    with pytest.raises(CrishimError, match="cgroup v2") as caught:
        oci(V1, unified={"memory.high": "1"})
    assert caught.value.kind is Kind.PRECONDITION


def test_editor_adds_to_the_base(make: Make, apply: Apply) -> None:
    """cgroupsPath as given, the base's device rule kept, a pids limit where there is the controller."""
    config = cri.ContainerConfig()
    config.linux.resources.cpu_shares = 2
    linux = apply(resources.resources, make(config=config, pids_limit=100)).spec["linux"]
    assert linux["cgroupsPath"] == "/pod/c1"
    assert linux["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert linux["resources"]["cpu"] == {"shares": 2}
    assert linux["resources"]["pids"] == {"limit": 100}


def merged(current: dict[str, Any], update: dict[str, Any]) -> cri.LinuxContainerResources:
    make = cri.LinuxContainerResources
    return resources.merge(make(**current), make(**update))


def test_an_update_changes_only_what_it_gives() -> None:
    """Zero and "" leave the current value."""
    result = merged({"cpu_shares": 100, "cpuset_cpus": "0", "oom_score_adj": 5}, {"cpu_shares": 200})
    assert (result.cpu_shares, result.cpuset_cpus, result.oom_score_adj) == (200, "0", 5)


def test_an_update_of_hugepages_and_unified_is_by_key() -> None:
    """Sizes and files that are not mentioned stay."""
    page = cri.HugepageLimit
    result = merged(
        {
            "hugepage_limits": [page(page_size="2MB", limit=1), page(page_size="1GB", limit=2)],
            "unified": {"a": "1", "b": "2"},
        },
        {"hugepage_limits": [page(page_size="1GB", limit=3)], "unified": {"b": "3"}},
    )
    assert {h.page_size: h.limit for h in result.hugepage_limits} == {"2MB": 1, "1GB": 3}
    assert dict(result.unified) == {"a": "1", "b": "3"}


def test_swap_follows_memory_if_it_was_equal() -> None:
    """A container without swap stays without swap when its memory grows or shrinks."""
    result = merged({"memory_limit_in_bytes": 64, "memory_swap_limit_in_bytes": 64}, {"memory_limit_in_bytes": 128})
    assert result.memory_swap_limit_in_bytes == 128
    result = merged({"memory_limit_in_bytes": 64, "memory_swap_limit_in_bytes": 100}, {"memory_limit_in_bytes": 80})
    assert result.memory_swap_limit_in_bytes == 100


_amount = st.integers(0, 2**40)
_resources = st.builds(
    cri.LinuxContainerResources,
    cpu_shares=_amount, cpu_quota=st.integers(-1, 2**30), cpu_period=_amount, memory_limit_in_bytes=_amount,
    oom_score_adj=st.integers(-1000, 1000), cpuset_cpus=st.sampled_from(["", "0", "0-3"]),
    unified=st.dictionaries(st.sampled_from(["memory.high", "cpu.max"]), st.text()),
)  # fmt: skip


@given(_resources, _resources)
def test_merge_is_idempotent_and_leaves_its_arguments(
    current: cri.LinuxContainerResources, update: cri.LinuxContainerResources
) -> None:
    """Applying an update twice is applying it once; the record's own message is not changed."""
    before = current.SerializeToString(deterministic=True)
    once = resources.merge(current, update)
    assert resources.merge(once, update) == once
    assert current.SerializeToString(deterministic=True) == before


@given(_resources)
def test_an_empty_update_changes_nothing(current: cri.LinuxContainerResources) -> None:
    """All values are "not given"."""
    assert resources.merge(current, cri.LinuxContainerResources()) == current


@given(_resources)
def test_no_zero_reaches_the_runtime(request_: cri.LinuxContainerResources) -> None:
    """A zero in config.json would be taken for a limit of zero."""
    result = resources.to_oci(request_, V2)
    assert all(result.get("cpu", {}).values())
    assert all(result.get("memory", {}).values())
