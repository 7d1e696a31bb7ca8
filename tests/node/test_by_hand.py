"""docs/by-hand.md does what it says, and its last block leaves nothing."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.node.walks import paste, walk

pytestmark = [pytest.mark.node, pytest.mark.timeout(180)]
# A host for the page: links of its own, a /run where no name of a namespace is taken; then what is left in it.
HOST = """mount -t tmpfs tmpfs /run && ip link set lo up || exit
"$@" || exit
echo "links: $(ip -o link | wc -l)"
echo "names: $(ls -A /run/netns | wc -l)"
echo "mounts: $(grep -c -e ' /run/netns/' -e by-hand /proc/self/mountinfo)"
echo "cgroups: $(find /sys/fs/cgroup -type d '(' -name hand -o -name by-hand ')' 2> /dev/null | wc -l)"
"""
ENTER = ("unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", HOST, "sh")


@pytest.mark.parametrize("way", [walk, paste])
def test_the_page_can_be_walked(way: Callable[..., str]) -> None:
    """What is left is the loopback interface."""
    before = set(Path("/dev/shm").glob("by-hand.*"))
    left = dict(re.findall(r"^([a-z]+): ([0-9]+)$", way("by-hand.md", *ENTER), re.MULTILINE))
    assert left == {"links": "1", "names": "0", "mounts": "0", "cgroups": "0"}
    assert set(Path("/dev/shm").glob("by-hand.*")) == before
