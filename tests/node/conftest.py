"""Fixtures of the node tests: a daemon for each module, an image in it, and a count of leaks around every test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.linux.inheritance import reset_inherited_signals
from tests.support.busybox import build_archive, daemon_with
from tests.support.daemon import Daemon, assert_clean
from tests.support.go_plugin import GoPlugins, go_plugins
from tests.support.isolation import isolate

# As a daemon does: some tests run parts of one here, and a script may have had SIGINT ignored.
reset_inherited_signals()
if os.geteuid() == 0:
    isolate()


@pytest.fixture(scope="session")
def busybox_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI archive of a small busybox image, built on the spot."""
    return build_archive(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def node(busybox_archive: Path) -> Iterator[Daemon]:
    """A running daemon with the busybox image."""
    with daemon_with(busybox_archive) as daemon:
        yield daemon


@pytest.fixture
def daemon(node: Daemon) -> Iterator[Daemon]:
    """The module's daemon; the test must leave nothing behind."""
    before = node.left()
    yield node
    assert_clean(node, before)


@pytest.fixture
def plugins(daemon: Daemon, tmp_path: Path) -> Iterator[GoPlugins]:
    """NRI plugins of the daemon, none yet; they are gone when the test has ended."""
    with go_plugins(daemon, tmp_path) as made:
        yield made
