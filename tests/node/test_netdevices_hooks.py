"""OCI hooks of a CDI device find the network device complete, whoever moves it: during create, and when it is over."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crishim.pb import cri_pb2 as cri
from tests.node.movers import WITH_YOUKI, handlers
from tests.support.daemon import Daemon, scratch_daemon
from tests.support.isolation import ip, remove_link
from tests.support.pods import container_config, remove_pod, run_pod, start, wait_exited

pytestmark = pytest.mark.node

HANDLERS = ("crun", "runc", "runc-built-in", WITH_YOUKI)
HOOKS = ("prestart", "createRuntime", "createContainer", "poststop")
RECORDER = """
import json, subprocess, sys
bundle = json.load(sys.stdin)["bundle"]
spaces = json.load(open(f"{bundle}/config.json"))["linux"]["namespaces"]
netns = next(n["path"] for n in spaces if n["type"] == "network")
with open(sys.argv[1], "ab") as file:
    file.write(subprocess.check_output(["nsenter", f"--net={netns}", "ip", "-j", "addr"]))
"""


@pytest.fixture(scope="module")
def node(busybox_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with a handler for each mover."""
    with scratch_daemon(runtimes={"handlers": handlers(tmp_path_factory.mktemp("movers"))}) as daemon:
        done = daemon.command("images", "import", str(busybox_archive))
        assert done.returncode == 0, done.stderr
        yield daemon


@pytest.fixture
def wish(daemon: Daemon) -> Iterator[list[cri.CDIDevice]]:
    """A CDI device of a veth and a hook of each kind that writes down the pod's interfaces."""
    ip("link", "add", "hook0", "mtu", "1400", "type", "veth", "peer", "name", "hook1")
    ip("addr", "add", "192.0.2.1/24", "dev", "hook0")
    ip("addr", "add", "2001:db8::1/64", "dev", "hook0", "nodad")
    ip("link", "set", "hook1", "up")
    ip("link", "set", "hook0", "up")
    recorder = daemon.directory / "recorder.py"
    recorder.write_text(RECORDER)
    hooks = [
        {"hookName": h, "path": sys.executable, "args": ["python", str(recorder), str(daemon.directory / f"seen-{h}")]}
        for h in HOOKS
    ]
    edits = {"netDevices": [{"hostInterfaceName": "hook0", "name": "net1"}], "hooks": hooks}
    spec = {"cdiVersion": "1.1.0", "kind": "example.com/hooked", "devices": [{"name": "one", "containerEdits": edits}]}
    file = daemon.directory / "cdi/hooked.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(spec))
    yield [cri.CDIDevice(name="example.com/hooked=one")]
    for path in (file, recorder, *daemon.directory.glob("seen-*")):
        path.unlink()
    remove_link("hook0")


def seen(daemon: Daemon, hook: str) -> set[str]:
    """What the hook found net1 to be: up or not, MTU, addresses that can be used."""
    (net1,) = [x for x in json.loads((daemon.directory / f"seen-{hook}").read_text()) if x["ifname"] == "net1"]
    usable = {f"{a['local']}/{a['prefixlen']}" for a in net1["addr_info"] if not a.get("tentative")}
    return {a for a in usable if not a.startswith("fe80")} | {f"mtu {net1['mtu']}"} | ({"UP"} & set(net1["flags"]))


@pytest.mark.parametrize("handler", HANDLERS)
def test_hooks_find_the_device(daemon: Daemon, wish: list[cri.CDIDevice], handler: str) -> None:
    """prestart, createRuntime, createContainer and poststop: UP, its MTU, IPv4 and IPv6, nothing tentative."""
    pod = run_pod(daemon, handler=handler)
    container = start(daemon, pod, container_config(command=["true"], CDI_devices=wish))
    assert wait_exited(daemon, container).exit_code == 0
    remove_pod(daemon, pod)
    complete = {"UP", "mtu 1400", "192.0.2.1/24", "2001:db8::1/64"}
    assert {hook: seen(daemon, hook) for hook in HOOKS} == dict.fromkeys(HOOKS, complete)
    assert "UP" in ip("link", "show", "hook0")


@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_what_a_hook_did_stays(daemon: Daemon, wish: list[cri.CDIDevice], handler: str) -> None:
    """A createRuntime hook gives the device an address: the container has it, and the host does not afterwards."""
    recorder = daemon.directory / "recorder.py"
    recorder.write_text(
        RECORDER.replace('"ip", "-j", "addr"', '"ip", "addr", "replace", "203.0.113.9/24", "dev", "net1"')
    )
    pod = run_pod(daemon, handler=handler)
    command = ["sh", "-c", "ip addr show net1 | grep -q 203.0.113.9"]
    container = start(daemon, pod, container_config(command=command, CDI_devices=wish))
    assert wait_exited(daemon, container).exit_code == 0
    remove_pod(daemon, pod)
    assert "203.0.113.9" not in ip("addr", "show", "hook0")
