"""A pod's network from the pod's point of view."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from crishim.cni.chain import PluginChain
from crishim.cni.directory import ConfigDirectory
from crishim.cni.network import PodNetworks
from crishim.errors import CrishimError
from crishim.lifecycle import PodState
from crishim.linux.limiter import Limiter
from crishim.model import NamespacePaths, PodRecord
from crishim.pb import cri_pb2 as cri

SCRIPT = """#!/bin/sh
echo "$CNI_COMMAND $CNI_CONTAINERID [$CNI_NETNS] $(cat)" >> {calls}
echo '{{"cniVersion": "1.0.0", "ips": [{{"address": "10.0.0.1/24"}}, {{"address": "fd00::1/64"}}]}}'
"""


@pytest.fixture
def networks(tmp_path: Path) -> PodNetworks:
    plugin = tmp_path / "one"
    plugin.write_text(SCRIPT.format(calls=tmp_path / "calls"))
    plugin.chmod(0o755)
    (tmp_path / "net.d").mkdir()
    network = {"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "one", "capabilities": {"ipRanges": True}}]}
    (tmp_path / "net.d/a.conflist").write_text(json.dumps(network))
    return PodNetworks(ConfigDirectory(tmp_path / "net.d", "newest"), PluginChain([str(tmp_path)], 5), Limiter())


CONFIG = cri.PodSandboxConfig(metadata=cri.PodSandboxMetadata(name="n", namespace="ns", uid="u"))


def pod(net: str = "/ns/net") -> PodRecord:
    return PodRecord(
        id="p" * 64,
        state=PodState.CREATING,
        config=CONFIG.SerializeToString(),
        handler="",
        created_at=1,
        namespaces=NamespacePaths(net=net),
    )


async def test_a_networks_life(networks: PodNetworks, tmp_path: Path) -> None:
    """Planned, added, checked, deleted: with what was planned, whatever the directory says by then."""
    networks.pod_cidr = "10.0.0.0/24"
    planned = replace(pod(), network=await networks.plan(CONFIG))
    networks.pod_cidr = "10.9.9.0/24"
    network = await networks.add(planned)
    assert network is not None
    assert network.ips == ("10.0.0.1", "fd00::1")
    added = replace(planned, network=network)
    (tmp_path / "net.d/a.conflist").unlink()
    assert networks.last_check(added.id) is None
    found = await networks.check(added)
    assert ([a.error for a in found.answers], found.errors, found.skipped) == ([""], (), "")
    assert networks.last_check(added.id) is found
    await networks.delete(added, "/ns/net")
    assert networks.last_check(added.id) is None
    await networks.delete(added, "")
    lines = (tmp_path / "calls").read_text().splitlines()
    assert [line.split(" ", 3)[0] for line in lines] == ["ADD", "CHECK", "DEL", "DEL"]
    assert [line.split(" ", 3)[2] for line in lines] == ["[/ns/net]", "[/ns/net]", "[/ns/net]", "[]"]
    for line in lines:
        given = json.loads(line.split(" ", 3)[3])
        assert given["runtimeConfig"] == {"ipRanges": [[{"subnet": "10.0.0.0/24"}]]}
    assert json.loads(lines[-1].split(" ", 3)[3])["prevResult"]["ips"][0]["address"] == "10.0.0.1/24"


async def test_host_network_pods_have_none(networks: PodNetworks, tmp_path: Path) -> None:
    """Nothing is run for them."""
    assert await networks.add(pod("")) is None
    assert (await networks.check(pod(""))).skipped == "it has the host's network"
    await networks.delete(pod(""), "")
    await networks.wait_for_plugins(pod(""))
    assert not (tmp_path / "calls").exists()


async def test_ready(networks: PodNetworks, tmp_path: Path) -> None:
    """ "" or the reason in one sentence."""
    assert await networks.ready() == ""
    (tmp_path / "one").unlink()
    assert "there is no CNI plugin one" in await networks.ready()
    with pytest.raises(CrishimError, match="there is no CNI plugin one"):
        await networks.plan(CONFIG)


async def test_plugins_of_an_earlier_daemon(networks: PodNetworks) -> None:
    """They are waited for; other pods' plugins, and processes that are none, are let be."""
    planned = replace(pod(), network=await networks.plan(CONFIG))
    with (
        _sleep("0.3", planned.id) as plugin,
        _sleep("60", "other") as other,
    ):
        await networks.wait_for_plugins(planned)
        assert plugin.poll() is not None or Path(f"/proc/{plugin.pid}/stat").read_text().split()[2] == "Z"
        assert other.poll() is None
        other.kill()


async def test_plugins_that_do_not_end(networks: PodNetworks, tmp_path: Path) -> None:
    """After the time a plugin may take they are killed."""
    impatient = PodNetworks(ConfigDirectory(tmp_path / "net.d", "newest"), PluginChain([str(tmp_path)], 0.1), Limiter())
    planned = replace(pod(), network=await impatient.plan(CONFIG))
    with _sleep("60", planned.id) as plugin:
        await impatient.wait_for_plugins(planned)
        assert plugin.wait(5) == -9


def _sleep(seconds: str, container_id: str) -> "subprocess.Popen[bytes]":
    environment = {"CNI_CONTAINERID": container_id, "PATH": os.environ["PATH"]}
    process = subprocess.Popen(["sleep", seconds], env=environment)
    while not Path(f"/proc/{process.pid}/environ").read_bytes():
        assert process.poll() is None  # execve(2) has closed Popen's pipe, and sets the environment up a moment later
    return process
