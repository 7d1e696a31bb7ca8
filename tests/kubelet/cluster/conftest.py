"""Fixtures of the cluster tests. They run by `hack/cluster test` only."""

import contextlib
import os
from collections.abc import Iterator

import pytest

WANTED = os.environ.get("CRISHIM_TEST_KUBELET") == "cluster"
collect_ignore_glob: list[str] = [] if WANTED else ["test_*.py"]

if WANTED:
    from tests.kubelet.cluster.claims import BEFORE, described, make_links
    from tests.support.daemon import eventually
    from tests.support.isolation import remove_link
    from tests.support.kubelet.cluster import Cluster, scratch_cluster

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

    @pytest.fixture(scope="module")
    def the_driver(the_cluster: Cluster) -> Iterator[None]:
        """The example driver, with two links to offer."""
        make_links()
        the_cluster.start_driver("dev[0-9]")
        yield
        the_cluster.stop_driver()
        for name in BEFORE:
            remove_link(name)

    @pytest.fixture
    def claims(the_driver: None, cluster: Cluster) -> Iterator[Cluster]:
        """The cluster with the driver. After each test every device is on the host again as it was."""
        yield cluster
        kinds = "deployments,pods,resourceclaims,resourceclaimtemplates"
        cluster.kubectl("delete", kinds, "--all", "--wait", "--timeout=100s")

        def back() -> bool:
            with contextlib.suppress(AssertionError):
                return {name: described(name) for name in BEFORE} == BEFORE
            return False

        eventually(back, "the devices are back as they were", 60)
