"""The worked example of bundles/netdevices, done as its README says."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.spec_lab import features, runtimes
from tests.support.isolation import ip, remove_link

pytestmark = pytest.mark.node
EXAMPLE = Path(__file__).parents[2] / "bundles/netdevices"


def steps(title: str) -> str:
    """The commands under one heading of the README."""
    section = (EXAMPLE / "README.md").read_text().partition(f". {title}\n")[2].partition("\n## ")[0]
    return "\n".join(line.strip() for line in section.splitlines() if line.startswith("    "))


@pytest.fixture
def bundle() -> Iterator[Path]:
    """A copy of the example."""
    directory = Path(tempfile.mkdtemp(prefix="crishim-example-", dir="/dev/shm"))
    shutil.copytree(EXAMPLE, directory / "netdevices")
    yield directory / "netdevices"
    shutil.rmtree(directory)
    remove_link("demo0")


def able() -> list[Path]:
    """Runtimes whose `features` say netDevices."""
    told = [(path, ((features(path) or {}).get("linux") or {}).get("netDevices") or {}) for path in runtimes()]
    return [path for path, netdevices in told if netdevices.get("enabled")]


@pytest.mark.parametrize("runtime", able(), ids=lambda path: path.name)
def test_the_readme_holds(bundle: Path, runtime: Path) -> None:
    """The device is inside as net1 with its IPv4 address, MTU and MAC, UP, and is gone from the host afterwards."""

    def shell(script: str) -> str:
        return subprocess.run(["sh", "-ec", script], cwd=bundle, check=True, capture_output=True, text=True).stdout

    shell(steps("A root file system"))
    shell(steps("A device with addresses"))
    mac = json.loads(ip("-j", "link", "show", "demo0"))[0]["address"]
    out = shell(steps("Run").replace("runc", f"{runtime} --root={bundle}/state"))
    net1 = out.partition("net1")[2]
    assert "mtu 1400" in net1.splitlines()[0]
    assert "UP" in net1.splitlines()[0]
    assert mac in net1
    assert "inet 192.0.2.5/24" in net1
    with pytest.raises(AssertionError, match="does not exist"):
        ip("link", "show", "demo0")
    with pytest.raises(subprocess.CalledProcessError):
        shell(steps("Run").replace("runc", f"{runtime} --root={bundle}/state"))
    subprocess.run(["sh", "-c", steps("Clean up")], cwd=bundle, check=True)
    assert not (bundle / "rootfs").exists()
