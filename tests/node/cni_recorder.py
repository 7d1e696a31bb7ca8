"""A network of recorders: CNI plugins that write down what they are given and answer what they are told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, scratch_daemon

# Appends its call to a file, gives a result that adds one address, and does what files beside it say.
RECORDER = """#!/bin/sh
here=$(dirname "$0"); me=$(basename "$0"); config=$(cat)
printf '%s\\t%s\\t%s\\t%s\\t%s\\t%s\\t%s\\t%s\\n' "$CNI_COMMAND" "$me" "$CNI_CONTAINERID" "$CNI_NETNS" "$CNI_IFNAME" \\
    "$CNI_ARGS" "$CNI_PATH" "$(echo "$config" | tr -d '\\n\\t')" >> "$here/calls"
test ! -f "$here/$me.$CNI_COMMAND" || . "$here/$me.$CNI_COMMAND"
test "$CNI_COMMAND" = ADD || exit 0
case $me in one) a=10.99.0.1;; *) a=10.99.0.2;; esac
echo '{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "'$CNI_NETNS'"}],' \\
    '"ips": [{"address": "'$a'/24", "interface": 0}], "dns": {}}'
"""


CAPABLE = {"portMappings": True, "bandwidth": True, "ipRanges": True, "dns": True, "mac": False}


class Network:
    """A network of two recording plugins, in a node of its own."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        for name in ("one", "two"):
            (daemon.plugins / name).write_text(RECORDER)
            (daemon.plugins / name).chmod(0o755)
        self.configure()

    def configure(self, **changes: Any) -> None:
        plugins = [{"type": "one", "own": {"key": 1}}, {"type": "two", "capabilities": CAPABLE}]
        text = json.dumps({"cniVersion": "1.0.0", "name": "rec", "plugins": plugins} | changes)
        (self.daemon.cni / "10-test.conflist").write_text(text)

    def misbehave(self, plugin: str, command: str, script: str) -> None:
        (self.daemon.plugins / f"{plugin}.{command}").write_text(script)

    def behave(self) -> None:
        for path in self.daemon.plugins.glob("*.*"):
            path.unlink()

    def calls(self) -> list[dict[str, Any]]:
        """Calls since the last look, oldest first."""
        path = self.daemon.plugins / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        keys = ("command", "plugin", "id", "netns", "ifname", "args", "path", "config")
        found = [dict(zip(keys, line.split("\t"), strict=True)) for line in lines]
        return [{**call, "config": json.loads(call["config"])} for call in found]


@pytest.fixture(scope="module")
def node(busybox_archive: Path) -> Iterator[Daemon]:
    """A daemon whose plugins have two seconds."""
    with scratch_daemon(network={"timeout": 2}) as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        yield daemon


@pytest.fixture
def network(daemon: Daemon) -> Iterator[Network]:
    network = Network(daemon)
    yield network
    network.behave()
    network.calls()
    for path in daemon.plugins.iterdir():
        path.unlink()
    daemon.write_network()


def ready(daemon: Daemon) -> tuple[bool, str]:
    """NetworkReady and its message."""
    conditions = {c.type: c for c in daemon.call("Status").status.conditions}
    return conditions["NetworkReady"].status, conditions["NetworkReady"].message
