"""Fixtures of the cluster tests. They run by `hack/cluster test` only."""

import os
from collections.abc import Iterator

import pytest

WANTED = os.environ.get("CRISHIM_TEST_KUBELET") == "cluster"
collect_ignore_glob: list[str] = [] if WANTED else ["test_*.py"]

if WANTED:
    from hack.kubelet.cluster import Cluster, scratch_cluster

    @pytest.fixture(scope="module")
    def cluster() -> Iterator[Cluster]:
        """A running cluster of one node for the tests of a module; its node has nothing left of them at the end."""
        with scratch_cluster() as cluster:
            before = cluster.left()
            yield cluster
            cluster.kubectl("delete", "deployments,jobs,pods", "--all", "--wait", "--timeout=60s")
            cluster.settle(before)
