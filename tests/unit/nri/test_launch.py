"""crishim/nri/launch.py: programs of a directory, started with their end of a connection."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crishim.nri import launch
from crishim.nri.launch import MAX_CONFIG, found
from tests.support.nri_rig import POD, Node, until

ROOT = Path(__file__).parents[3]

# A plugin that registers over the descriptor it is told of, and notes what it was given.
PROGRAM = f"""#!{sys.executable}
import os, socket, sys
fds = sorted(map(int, os.listdir("/proc/self/fd")))[:-1]
environment = {{{{k: v for k, v in os.environ.items() if k != "LC_CTYPE"}}}}  # which Python sets itself
sys.path.insert(0, {str(ROOT)!r})
from crishim.nri.session import Peer, Request, Session
from crishim.pb import nri_pb2 as nri
print("said this")
sys.stdout.flush()
trunk = socket.socket(fileno=int(os.environ["NRI_PLUGIN_SOCKET"]))
session = Session(Peer.PLUGIN)
register = nri.RegisterPluginRequest(plugin_name="ignored", plugin_idx="99")
session.call("nri.pkg.api.v1alpha1.Runtime", "RegisterPlugin", register.SerializeToString())
trunk.sendall(session.data_to_send())
with open({{log!r}}, "w") as log:
    print(sys.argv[1:], environment, fds, os.getsid(0) == os.getpid(), file=log, flush=True)
    while data := trunk.recv(1 << 16):
        for event in session.receive(data):
            if isinstance(event, Request):
                if event.method == "Configure":
                    print(nri.ConfigureRequest.FromString(event.payload).config, file=log, flush=True)
                session.respond(event.stream, b"")
        trunk.sendall(session.data_to_send())
    print("over", file=log, flush=True)
{{end}}
"""


def program(directory: Path, name: str, log: Path, end: str = "") -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(PROGRAM.format(log=str(log), end=end))
    path.chmod(0o755)
    return path


def test_what_is_launched_and_with_which_configuration(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plugins, config = tmp_path / "plugins", tmp_path / "conf"
    for name, mode in (("20-b", 0o755), ("10-a", 0o711), ("30-data", 0o644), ("noindex", 0o755), ("10-a b", 0o755)):
        plugins.mkdir(exist_ok=True)
        (plugins / name).write_text("")
        (plugins / name).chmod(mode)
    (plugins / "05-directory").mkdir()
    config.mkdir()
    (config / "10-a.conf").write_text("most specific")
    (config / "a.conf").write_text("of the name")
    (config / "b.conf").write_text("x" * (MAX_CONFIG + 5))
    assert [(p.index, p.name, p.path, len(p.config)) for p in found(plugins, config)] == [
        ("10", "a", str(plugins / "10-a"), 13),
        ("20", "b", str(plugins / "20-b"), MAX_CONFIG),
    ]
    assert [vars(r)["path"] for r in caplog.records] == [str(plugins / "10-a b"), str(plugins / "noindex")]
    assert found(tmp_path / "nowhere", config) == []


async def test_a_program_gets_three_variables_and_its_descriptor(node: Node, tmp_path: Path) -> None:
    """It is called by the name of its file, whatever it registers as, and start() returns when it is ready."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "tool.conf").write_text("its configuration")
    program(tmp_path / "plugins", "07-tool", tmp_path / "log")
    await node.start(plugin_directory=tmp_path / "plugins", config_directory=tmp_path / "conf")
    (status,) = node.plugins.status()
    assert (status.label, status.state) == ("07-tool", "ready")
    assert status.launched == str(tmp_path / "plugins" / "07-tool")
    given, config = (tmp_path / "log").read_text().splitlines()
    environment = {"NRI_PLUGIN_NAME": "tool", "NRI_PLUGIN_IDX": "07", "NRI_PLUGIN_SOCKET": "3"}
    assert given == f"[] {environment} [0, 1, 2, 3] True"
    assert config == "its configuration"
    await node.plugins.run_pod_sandbox(POD)
    assert status.counters.calls["RunPodSandbox"] == 1
    pid = node.plugins._programs[0].pid
    await node.plugins.close()
    assert not Path(f"/proc/{pid}").exists()


async def test_programs_that_fail_are_logged_and_skipped(
    node: Node, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One that is no program, one that ends at once, one that never registers; the good one is there."""
    caplog.set_level("INFO")
    plugins = tmp_path / "plugins"
    program(plugins, "10-good", tmp_path / "log")
    for name, text in (
        ("20-ends", "#!/bin/sh\necho I cannot; exit 3\n"),
        ("30-silent", "#!/bin/sh\nread x <&3\n"),
        ("40-not", "\0\0"),
    ):
        (plugins / name).write_text(text)
        (plugins / name).chmod(0o755)
    before = set(os.listdir("/proc/self/fd"))
    await node.start(plugin_directory=plugins, registration_timeout=3.0)
    states = {s.label: s.state for s in node.plugins.status()}
    assert states == {"10-good": "ready"}
    await until(lambda: len(ends(caplog)) == 2)
    assert ends(caplog)["20-ends"] == (3, "I cannot")
    assert ends(caplog)["30-silent"][0] in (1, 137)  # it met the end of its connection, or was killed
    assert "an NRI plugin cannot be launched" in caplog.messages
    await node.plugins.close()
    assert set(os.listdir("/proc/self/fd")) <= before


def ends(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    lines = [vars(r) for r in caplog.records if r.message == "a launched NRI plugin has ended"]
    return {Path(line["path"]).name: (line["exit_code"], line["said"]) for line in lines}


async def test_one_that_ends_later_is_not_started_again(
    node: Node, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    program(tmp_path / "plugins", "10-x", tmp_path / "log")
    await node.start(plugin_directory=tmp_path / "plugins")
    os.kill(node.plugins._programs[0].pid, 15)
    await until(lambda: bool(ends(caplog)))
    assert ends(caplog)["10-x"] == (143, "said this")
    await until(lambda: node.plugins.status()[0].state == "closed: it closed its connection")
    await node.plugins.run_pod_sandbox(POD)


async def test_one_that_outlives_its_connection_is_killed(node: Node, tmp_path: Path) -> None:
    """With what it started."""
    end = "import subprocess; subprocess.run(['sleep', '1000'])"
    program(tmp_path / "plugins", "10-x", tmp_path / "log", end)
    await node.start(plugin_directory=tmp_path / "plugins")
    started = node.plugins._programs[0].pid
    node.plugins.roster.all()[0].connection.close("the test says so")
    await until(lambda: bool(children(started)))
    (sleep,) = children(started)
    await node.plugins.close()
    await until(lambda: not Path(f"/proc/{sleep}").exists())
    assert not Path(f"/proc/{started}").exists()


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def test_descriptors_are_set_whatever_their_numbers_were(tmp_path: Path) -> None:
    """A descriptor that is 3 or below already is not overwritten before it is used."""
    log = tmp_path / "log"
    script = tmp_path / "10-x"
    script.write_text(f"#!/bin/sh\nreadlink /proc/self/fd/3 > {log}\n")
    script.chmod(0o755)
    child = f"""
import os
from crishim.nri import launch
from crishim.nri.registration import LaunchedPlugin
a, b = os.pipe()
saved = os.dup2(a, 3), os.dup2(b, 1)
pid = launch._spawn(LaunchedPlugin("10", "x", {str(script)!r}, ""), 3, 1)
os.waitpid(pid, 0)
assert os.readlink("/proc/self/fd/3") == open({str(log)!r}).read().strip()
"""
    done = subprocess.run([sys.executable, "-c", child], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert launch.SOCKET_FD == 3
