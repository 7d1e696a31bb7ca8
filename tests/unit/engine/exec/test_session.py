"""crishim/engine/exec/ over a program that execs as a runtime does; the real ones are in tests/node/test_exec.py."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from crishim.engine.exec import session, strategy, sync
from crishim.engine.exec.child import Command
from crishim.engine.exec.crun import CrunExec
from crishim.engine.exec.limits import ExecLimits
from crishim.engine.exec.runc import RuncExec
from crishim.errors import CrishimError, Kind
from crishim.linux import process_trees, programs
from tests.support.eventually import eventually

ID = "c" * 64
# The contract: --version; exec --process FILE --pid-file FILE ID, errors to --log. The pid file means it was executed.
RUNTIME = """#!{python}
import json, os, subprocess, sys
if sys.argv[1:] == ["--version"]:
    print("{version}")
    with open("{asked}", "a") as asked:
        asked.write("x")
    sys.exit()
options = dict(zip(sys.argv, sys.argv[1:]))
process = json.load(open(options["--process"]))
try:
    child = subprocess.Popen(process["args"])
except FileNotFoundError as error:
    with open(options["--log"], "w") as log:
        print(json.dumps(dict(level="warning", msg="beside the point")), file=log)
        print(json.dumps(dict(level="error", msg="executable file `%s` not found" % process["args"][0])), file=log)
    sys.exit(1)
with open(options["--pid-file"] + ".new", "w") as file:
    file.write(str(child.pid))
os.rename(options["--pid-file"] + ".new", options["--pid-file"])
code = child.wait()
sys.exit(code if code >= 0 else 128 - code)
"""
VERSIONS = {"crun version 1.8.1": CrunExec, "runc version 1.1.5": RuncExec, "youki 0.5": RuncExec}


@pytest.fixture(params=VERSIONS)
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "runtime"
    path.write_text(RUNTIME.format(python=sys.executable, version=request.param, asked=tmp_path / "asked"))
    path.chmod(0o755)
    return path


def command(runtime: Path, *argv: str) -> Command:
    scratch = runtime.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return Command(runtime, runtime.parent / "root", ID, {"args": [*argv]}, scratch)


async def run(runtime: Path, *argv: str, **options: Any) -> sync.SyncResult:
    """Run it; afterwards there is no file and no descriptor of it."""
    before = len(os.listdir("/proc/self/fd"))
    try:
        async with ExecLimits().slot(ID, 0) as slot:
            return await sync.run(command(runtime, *argv), slot, **options)
    finally:
        assert not list((runtime.parent / "scratch").iterdir())
        assert len(os.listdir("/proc/self/fd")) <= before


async def test_a_runtime_is_asked_once_what_it_is(runtime: Path) -> None:
    """Only crun is like crun."""
    version = (await programs.run([runtime, "--version"], timeout=10)).stdout.decode().strip()
    for _ in range(3):
        assert type(await strategy.choose(runtime)) is VERSIONS[version]
    assert (runtime.parent / "asked").read_text() == "xx"  # our own question is one


async def test_outputs_and_code(runtime: Path) -> None:
    assert await run(runtime, "sh", "-c", "echo out; echo err >&2; exit 3") == (b"out\n", b"err\n", 3)
    assert (await run(runtime, "sh", "-c", "kill -9 $$")).exit_code == 137


async def test_output_beyond_the_limit_is_dropped(runtime: Path) -> None:
    out, err, code = await run(runtime, "sh", "-c", "head -c 5000 /dev/zero; exit 6", limit=1000)
    assert (len(out), err, code) == (1000, b"", 6)


async def test_a_command_that_is_not_there(runtime: Path) -> None:
    """INVALID, with the last error of the runtime's log."""
    with pytest.raises(CrishimError, match=r"'/no/such' in container c{13}: .* file `/no/such` not found") as caught:
        await run(runtime, "/no/such")
    assert caught.value.kind is Kind.INVALID


async def test_a_runtime_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PRECONDITION: it was there when it was asked."""
    monkeypatch.setitem(strategy._chosen, tmp_path / "gone", CrunExec())
    with pytest.raises(CrishimError, match=r"cannot run .*gone") as caught:
        await run(tmp_path / "gone", "true")
    assert caught.value.kind is Kind.PRECONDITION


async def test_a_command_that_is_too_slow_is_killed(runtime: Path) -> None:
    """DEADLINE names it; its children are gone as well, also those in a session of their own."""
    name = f"sleeps-in-{runtime.parent.name}"
    script = f"setsid sh -c 'while :; do sleep 0.1; done' {name} & wait"
    with pytest.raises(CrishimError, match="'sh' did not end within 1 s and was killed") as caught:
        await run(runtime, "sh", "-c", script, timeout=1)
    assert caught.value.kind is Kind.DEADLINE
    await eventually(lambda: not any(name.encode() in line for line in process_trees.command_lines().values()))


async def test_stdin_until_its_end(runtime: Path) -> None:
    started = await session.start(command(runtime, "wc", "-c"), stdin=True)
    try:
        await started.write_stdin(bytes(100_000))
        await started.close_stdin()
        assert await started.wait() == 0
        assert (await started.read_stdout()).strip() == b"100000"
    finally:
        await started.close()
