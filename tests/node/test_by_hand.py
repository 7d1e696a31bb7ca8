"""docs/by-hand.md does what it says, and its last block leaves nothing."""

import re
from pathlib import Path

import pytest

from tests.node.walks import walk

pytestmark = pytest.mark.node
# A host for the page: links of its own, a /run where no name of a namespace is taken; then what is left in it.
HOST = """mount -t tmpfs tmpfs /run || exit
"$@" || exit
echo "links: $(ip -o link | wc -l)"
echo "names: $(ls -A /run/netns | wc -l)"
echo "mounts: $(grep -c ' /run/netns/' /proc/self/mountinfo)"
echo "cgroups: $(find /sys/fs/cgroup -type d -name hand 2> /dev/null | wc -l)"
"""
ENTER = ("unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", HOST, "sh")


def test_the_page_can_be_walked() -> None:
    """What is left is the loopback interface."""
    before = set(Path("/dev/shm").glob("by-hand.*"))
    left = dict(re.findall(r"^([a-z]+): ([0-9]+)$", walk("by-hand.md", *ENTER), re.MULTILINE))
    assert left == {"links": "1", "names": "0", "mounts": "0", "cgroups": "0"}
    assert set(Path("/dev/shm").glob("by-hand.*")) == before
