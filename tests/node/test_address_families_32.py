"""The default seccomp profile and sockets of 32-bit programs, which have two ways to one."""

import errno
import subprocess
from pathlib import Path

import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.spec_lab import Lab, secured
from tests.node.spec_lab import lab as lab

pytestmark = pytest.mark.node

# socket(2) of AF_ALG and AF_UNIX, then the same by socketcall(2), each answer a line; without a C library.
SOURCE = """
static long call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}
static void print(long value) {
    char text[] = "+00\\n";
    text[0] = value < 0 ? '-' : '+';
    value = value < 0 ? -value : value;
    text[1] += value / 10 % 10;
    text[2] += value % 10;
    call(4, 1, (long)text, 4);
}
void _start(void) {
    long alg[] = {38, 5, 0}, local[] = {1, 3, 0};
    print(call(359, 38, 5, 0));
    print(call(359, 1, 3, 0));
    print(call(102, 1, (long)alg, 0));
    print(call(102, 1, (long)local, 0));
    call(1, 0, 0, 0);
}
"""


@pytest.fixture
def probe(lab: Lab, tmp_path: Path) -> None:
    source, program = tmp_path / "probe.c", lab.rootfs / "bin/probe32"
    source.write_text(SOURCE)
    flags = ["-m32", "-static", "-nostdlib", "-fno-stack-protector", "-fno-pie", "-no-pie"]
    subprocess.run(["gcc", *flags, "-o", program, source], check=True)
    try:
        subprocess.run([program], check=True, capture_output=True)
    except OSError as error:
        pytest.skip(f"this kernel runs no 32-bit programs: {error.strerror}")


@pytest.mark.usefixtures("probe")
def test_both_ways(lab: Lab) -> None:
    """AF_ALG is EPERM by socket(2). What socketcall(2) is for lies in memory, where no filter looks: all pass.

    bundles/README.md says why it is allowed all the same; if this fails, it is to say something else.
    """
    default = secured(seccomp=cri.SecurityProfile(profile_type=cri.SecurityProfile.RuntimeDefault))
    alg, local, alg_by_call, local_by_call = map(int, lab.run("/bin/probe32", default).split())
    assert alg == -errno.EPERM
    assert local > 0
    assert local_by_call > 0
    bare = [int(line) for line in lab.run("/bin/probe32", secured()).split()]
    assert (bare[0] < 0, alg_by_call < 0) == (bare[2] < 0, bare[2] < 0)  # what this kernel has
    assert alg_by_call != -errno.EPERM
