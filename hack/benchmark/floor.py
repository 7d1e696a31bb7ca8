"""The floor: unshare, the CNI plugins and the OCI runtime by a shell script. Nothing that gives a pod costs less.

It is no runtime: no images, no log, nobody who waits for the end, no state, and a root file system that lies there.
"""

import contextlib
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from crishim.linux import cgroups, mounts
from hack.benchmark.calls import END, REMOVE, START, STOP, TOGETHER, Row, milliseconds
from tests.support.daemon import test_program
from tests.support.residue import BRIDGE

FLOOR_CRUN, FLOOR_RUNC = "floor, crun", "floor, runc"
SCRIPT = Path(__file__).with_name("floor.sh")
STEPS = {"start": START, "stop": STOP, "remove": REMOVE, "end": END}


def config(place: Path) -> str:
    """What `crun spec` proposes, in the namespaces of the script, with a process that sleeps."""
    subprocess.run(["crun", "spec", "--bundle", place / "bundle"], check=True)
    spec = json.loads((place / "bundle/config.json").read_text())
    spec["process"] |= {"terminal": False, "args": ["/bin/busybox", "sleep", "1000000"]}
    kinds = {"network": "net", "ipc": "ipc", "uts": "uts"}
    own = [{"type": kind} for kind in ("pid", "mount")]
    spec["linux"]["namespaces"] = own + [{"type": k, "path": str(place / "ns" / v)} for k, v in kinds.items()]
    spec["linux"]["cgroupsPath"] = f"/{place.name}/c"
    return json.dumps(spec)


@contextlib.contextmanager
def prepared() -> Iterator[Path]:
    """A directory for the script, with the bridge of all contestants and addresses of its own."""
    with tempfile.TemporaryDirectory(prefix="cb-floor-", dir="/dev/shm") as name:
        place = Path(name)
        for part in ("ns", "cni", "bundle/rootfs/bin"):
            (place / part).mkdir(parents=True)
        program = shutil.which("busybox")
        assert program, "busybox-static is missing"
        shutil.copy(program, place / "bundle/rootfs/bin/busybox")
        for part in ("proc", "dev", "sys"):
            (place / "bundle/rootfs" / part).mkdir()
        (place / "bundle/config.json").write_text(config(place))
        head = {"cniVersion": "1.0.0", "name": place.name}
        ranges = [[{"subnet": "10.231.0.0/16"}], [{"subnet": "fd31::/64"}]]
        routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
        ipam = {"type": "host-local", "dataDir": str(place / "ipam"), "ranges": ranges, "routes": routes}
        bridge = {**head, "type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": True, "ipam": ipam}
        (place / "cni/bridge.json").write_text(json.dumps(bridge))
        (place / "cni/portmap.json").write_text(json.dumps({**head, "type": "portmap", "snat": True}))
        try:
            yield place
        finally:
            for target in mounts.below(place):  # a script that failed
                mounts.unmount(target)
            cgroups.remove(f"/{place.name}")


def command(place: Path, runtime: str, times: int, devices: Sequence[str] = ()) -> list[str]:
    program = "/usr/bin/crun" if runtime == "crun" else test_program(runtime)
    return [str(SCRIPT), str(place), program, str(times), *devices]


def steps(output: str) -> Row:
    """The median of each step in ms, from what the script prints."""
    found: dict[str, list[float]] = {}
    for line in output.splitlines():
        step, microseconds = line.split()
        found.setdefault(step, []).append(int(microseconds) / 1000)
    return {step: statistics.median(values) for step, values in found.items()}


def measured(runtime: str, times: int, devices: Sequence[str] = ()) -> Row:
    """Every step of the script: start, stop, remove, end, and of start: add (CNI), attach (devices), run (runtime)."""
    with prepared() as place:
        done = subprocess.run(command(place, runtime, times, devices), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{SCRIPT.name}: {done.stderr[-1000:]}"
        return steps(done.stdout)


def round_of(runtime: str, times: int) -> Row:
    """The rows of the table that the script has."""
    found = measured(runtime, times)
    return {row: found[step] for step, row in STEPS.items()} | {TOGETHER: together(runtime)}


def together(runtime: str, count: int = 10) -> float:
    """ms until the containers of so many scripts run, started at once."""
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(prepared()) for _ in range(count)]
        began = time.perf_counter()
        running = [subprocess.Popen(command(place, runtime, 1), stdout=subprocess.PIPE, text=True) for place in places]
        ended = 0.0
        for one in running:
            assert one.stdout
            for line in one.stdout:
                if line.startswith("start "):
                    ended = max(ended, milliseconds(began))
        assert not any(one.wait() for one in running)
        return ended
