"""SR-IOV functions of the guest's igb cards: physical ones, and virtual ones made of the first."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import eventually
from tests.support.isolation import ip

VFS = 3


def physical() -> list[str]:
    """The igb physical functions' names."""
    nets = Path("/sys/class/net").iterdir()
    return sorted(n.name for n in nets if (n / "device/sriov_totalvfs").exists())


def settle() -> None:
    """Until udev has given links their names."""
    subprocess.run(["udevadm", "settle", "--timeout=600"], check=True)


@pytest.fixture(scope="module")
def functions() -> Iterator[tuple[str, list[str]]]:
    """A physical function, up, and the names of its virtual ones, when udev has given them."""
    name = physical()[0]
    ip("link", "set", name, "up")
    device = Path(f"/sys/class/net/{name}/device")
    (device / "sriov_numvfs").write_text(str(VFS))

    def virtual() -> list[str]:
        return [n.name for k in range(VFS) for n in (device / f"virtfn{k}/net").glob("*")]

    eventually(lambda: len(virtual()) == VFS, "the virtual functions have links")
    settle()
    yield name, virtual()
    (device / "sriov_numvfs").write_text("0")
