"""The directory of network configurations: there or not."""

import pytest

from tests.node.cni_recorder import Network, ready
from tests.node.cni_recorder import network as network
from tests.node.cni_recorder import node as node

pytestmark = pytest.mark.node


def test_the_directory_is_missing(network: Network) -> None:
    """No directory is no configuration; it may come later."""
    daemon = network.daemon
    aside = daemon.cni.rename(daemon.cni.with_name("aside"))
    try:
        assert not ready(daemon)[0]
        daemon.cni.write_text("a file, not a directory")
        assert "Not a directory" in ready(daemon)[1]
    finally:
        daemon.cni.unlink(missing_ok=True)
        aside.rename(daemon.cni)
    assert ready(daemon)[0]
