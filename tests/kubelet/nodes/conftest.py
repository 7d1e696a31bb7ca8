"""Fixtures of the tests with several nodes. They run by `hack/cluster test` only, in a pytest of their own: the
one-node cluster's control plane has the same ports."""

import os
from collections.abc import Iterator

import pytest

WANTED = os.environ.get("CRISHIM_TEST_KUBELET") == "cluster"
collect_ignore_glob: list[str] = [] if WANTED else ["test_*.py"]

if WANTED:
    from tests.support.kubelet.nodes import Nodes, scratch_nodes

    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        for item in items:  # a node is NotReady 20 s after it was killed, and three daemons share the cores
            item.add_marker(pytest.mark.timeout(500))

    @pytest.fixture(scope="session")
    def the_nodes() -> Iterator[Nodes]:
        """Three running nodes under one control plane, for all tests here."""
        with scratch_nodes(3) as nodes:
            yield nodes

    @pytest.fixture
    def nodes(the_nodes: Nodes) -> Iterator[Nodes]:
        """The nodes; what a test made is deleted after it, and must leave nothing on any of them."""
        before = {member.name: member.left() for member in the_nodes.members}
        yield the_nodes
        kinds = "deployments,pods,resourceclaims,resourceclaimtemplates"
        the_nodes.kubectl("delete", kinds, "--all", "--wait", "--timeout=100s")
        for member in the_nodes.members:
            member.settle(before[member.name])
