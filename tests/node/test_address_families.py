"""The default seccomp profile and sockets, tried by a program in running containers."""

import errno
import subprocess
from pathlib import Path

import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.spec_lab import Lab, secured
from tests.node.spec_lab import lab as lab

pytestmark = pytest.mark.node
AF_UNIX, AF_INET, AF_NETLINK, AF_ALG, AF_VSOCK, AF_XDP, UNKNOWN = 1, 2, 16, 38, 40, 44, 60

# socket(2) for each argument, printing errno; the argument goes to the kernel in 64 bits.
SOURCE = """
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int count, char **families) {
    for (int i = 1; i < count; i++) {
        errno = 0;
        long fd = syscall(SYS_socket, strtoul(families[i], 0, 10), 3L, 0L);
        printf("%d\\n", fd < 0 ? errno : 0);
    }
    return 0;
}
"""


@pytest.fixture
def probe(lab: Lab, tmp_path: Path) -> None:
    source = tmp_path / "probe.c"
    source.write_text(SOURCE)
    subprocess.run(["gcc", "-static", "-o", lab.rootfs / "bin/probe", source], check=True)


@pytest.mark.usefixtures("probe")
def test_families(lab: Lab) -> None:
    """AF_ALG (CVE-2026-31431) and AF_VSOCK are EPERM, with bits the kernel drops as well; usual ones are as ever."""
    config = secured(seccomp=cri.SecurityProfile(profile_type=cri.SecurityProfile.RuntimeDefault))
    denied = [AF_ALG, AF_VSOCK, UNKNOWN, 1 << 32 | AF_ALG, 1 << 32 | AF_VSOCK]
    usual = [AF_UNIX, AF_INET, AF_NETLINK, AF_XDP]
    out = lab.run(f"/bin/probe {' '.join(map(str, [*denied, *usual]))}", config).split()
    assert out[: len(denied)] == [str(errno.EPERM)] * len(denied)
    found = dict(zip(usual, map(int, out[len(denied) :]), strict=True))
    assert found[AF_UNIX] == 0
    # Unconfined, they are what this kernel has: the filter is what made the difference.
    bare = lab.run(f"/bin/probe {' '.join(map(str, [*denied, *usual]))}", secured()).split()
    assert str(errno.EPERM) not in bare[: len(denied)]
    assert [int(n) for n in bare[len(denied) :]] == list(found.values())
