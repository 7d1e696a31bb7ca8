"""Fixtures of the cluster tests. They run by `hack/cluster test` only."""

import os
from collections.abc import Iterator

import pytest

WANTED = os.environ.get("CRISHIM_TEST_KUBELET") == "cluster"
collect_ignore_glob: list[str] = [] if WANTED else ["test_*.py"]

if WANTED:
    from hack.kubelet.cluster import Cluster, scratch_cluster

    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        for item in items:  # a control plane starts in 15 s on an idle machine
            item.add_marker(pytest.mark.timeout(400))

    @pytest.fixture(scope="session")
    def the_cluster() -> Iterator[Cluster]:
        """One running cluster of one node for all tests."""
        with scratch_cluster() as cluster:
            yield cluster

    @pytest.fixture
    def cluster(the_cluster: Cluster) -> Iterator[Cluster]:
        """The cluster; what a test made is deleted after it, and must leave nothing on the node."""
        before = the_cluster.left()
        yield the_cluster
        kinds = "deployments,jobs,pods,resourceclaims,resourceclaimtemplates"
        the_cluster.kubectl("delete", kinds, "--all", "--wait", "--timeout=100s")
        the_cluster.settle(before)
