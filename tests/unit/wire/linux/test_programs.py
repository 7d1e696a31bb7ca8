"""Programs that must not outlive the process that started them."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from crishim.errors import CrishimError, Kind
from crishim.wire.linux import programs


def test_dies_with_its_parent() -> None:
    """A program that runs when its parent is killed is killed too."""
    script = "import subprocess, sys; from crishim.wire.linux import programs\n"
    script += "child = subprocess.Popen(programs.dying_with_us(['sh', '-c', 'echo $$; exec sleep 1000'])); child.wait()"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        assert not select.select([child], [], [], 0)[0]
        parent.kill()
        ended = select.select([child], [], [], 10)[0]
        os.close(child)
    assert ended


def test_an_orphan_does_not_start(tmp_path: Path) -> None:
    """A program whose parent died before it could ask for the signal does nothing at all."""
    trace = tmp_path / "trace"
    orphan = programs.dying_with_us(["touch", str(trace)], parent=os.getppid())
    assert subprocess.run(orphan, check=False).returncode == 1
    assert not trace.exists()
    subprocess.run(programs.dying_with_us(["touch", str(trace)]), check=True)
    assert trace.exists()


async def test_bound_arguments_pass_unchanged() -> None:
    """What the program is given and what it answers is as without the binding."""
    words = ["a b", "$HOME", "'\"", "", "-x", "*"]
    done = await programs.run(programs.dying_with_us(["printf", "[%s]", *words]), timeout=10)
    assert done.stdout.decode() == "".join(f"[{word}]" for word in words)
    missing = await programs.run(programs.dying_with_us(["no-such-program"]), timeout=10, check=False)
    assert missing.returncode == 127


async def test_deadline_kills_the_group() -> None:
    """A program over its time is killed with its children, and the error names it."""
    with pytest.raises(CrishimError, match=r"setpriv did not finish within 0\.2 s") as caught:
        await programs.run(programs.dying_with_us(["sh", "-c", "sleep 1000 & wait"]), timeout=0.2)
    assert caught.value.kind is Kind.DEADLINE
