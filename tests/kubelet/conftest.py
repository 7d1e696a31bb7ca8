"""Fixtures of the kubelet tests. They run by `hack/node test` only: a kubelet takes minutes to build."""

import os
from collections.abc import Iterator

import pytest

collect_ignore_glob: list[str] = [] if os.environ.get("CRISHIM_TEST_KUBELET") else ["test_*.py"]

if os.environ.get("CRISHIM_TEST_KUBELET"):
    from tests.support.kubelet import host
    from tests.support.kubelet.node import Node, scratch_node

    host.isolate_node()

    @pytest.fixture(scope="module")
    def the_node() -> Iterator[Node]:
        """A running node for the tests of a module; one at a time, for the kubelet's port."""
        with scratch_node() as node:
            yield node

    @pytest.fixture
    def node(the_node: Node) -> Iterator[Node]:
        """The node; a test's pods are taken away after it, and must leave nothing behind."""
        before = the_node.left()
        yield the_node
        the_node.remove(*(path.stem for path in the_node.kubelet.manifests.glob("*.yaml")))
        the_node.settle(before)
