"""What NRI costs: pods and containers without a plugin and with NRI off, a hook of an idle plugin, and Status beside
ten plugins and a hundred pods.

usage: hack/bench nri [ROUNDS]     Nothing here is a test: what else the machine does is in the times.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.support.daemon import Daemon, scratch_daemon
from tests.support.go_plugin import GoPlugins, go_plugins
from tests.support.isolation import isolate
from tests.support.pods import container_config, create, remove_pod, run_pod

PLUGINS, PODS = 10, 100


def milliseconds(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def one_pod(daemon: Daemon) -> tuple[float, float]:
    """RunPodSandbox and CreateContainer, in ms; the pod is removed."""
    began = time.perf_counter()
    pod = run_pod(daemon)
    ran = milliseconds(began)
    began = time.perf_counter()
    create(daemon, pod)
    created = milliseconds(began)
    remove_pod(daemon, pod)
    return ran, created


def settings(daemon: Daemon, *, enable: bool) -> None:
    """Restart with NRI on or off."""
    daemon.stop()
    daemon.write_config({"nri": {"enable": enable}})
    daemon.start()


def turns(daemon: Daemon, rounds: int) -> None:
    """NRI off, and on without a plugin, in turns."""
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for _ in range(4):
        for enable in (False, True):
            settings(daemon, enable=enable)
            one_pod(daemon)  # what is made once
            found[enable] += [one_pod(daemon) for _ in range(rounds)]
    for enable, times in found.items():
        run, made = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"NRI {'on, no plugin' if enable else 'off':14} RunPodSandbox {run:6.1f}  CreateContainer {made:6.1f} ms")


def hooks(daemon: Daemon, plugins: GoPlugins, rounds: int) -> None:
    """One plugin that takes every event and does nothing."""
    plugins.join(quiet=True)
    times = [one_pod(daemon) for _ in range(rounds * 4)]
    run, made = (statistics.median(column) for column in zip(*times, strict=True))
    (plugin,) = [p for p in plugins.listed() if p["state"] == "ready"]
    calls = sum(plugin["calls"].values())
    print(f"{'one idle plugin':18} RunPodSandbox {run:6.1f}  CreateContainer {made:6.1f} ms")
    print(
        f"a hook: mean {plugin['seconds'] / calls * 1000:.2f} ms of {calls}, longest {plugin['longest'] * 1000:.1f} ms"
    )
    plugins.end()


def crowd(daemon: Daemon, plugins: GoPlugins) -> None:
    """Status while a hundred pods are made and removed beside ten plugins, and while they are there."""
    for number in range(PLUGINS):
        plugins.join(index=f"{number:02}", name=f"p{number}", quiet=True)
    over, times = threading.Event(), list[float]()

    def ask() -> None:
        while not over.wait(0.02):
            began = time.perf_counter()
            daemon.call("Status")
            times.append(milliseconds(began))

    thread = threading.Thread(target=ask)
    thread.start()
    pods = []
    for number in range(PODS):
        pods.append(run_pod(daemon))
        create(daemon, pods[-1], container_config(f"c{number}"))
    making = list(times)
    times.clear()
    time.sleep(5)
    resting = list(times)
    times.clear()
    for pod in pods:
        remove_pod(daemon, pod)
    over.set()
    thread.join()
    for what, found in (("made", making), ("there", resting), ("removed", list(times))):
        ordered = sorted(found)
        p99 = ordered[int(len(ordered) * 0.99)]
        middle, most = statistics.median(found), max(found)
        print(f"Status, {PODS} pods {what:8} median {middle:5.1f}  p99 {p99:6.1f}  most {most:6.1f} ms")


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    isolate()
    print(f"load average {os.getloadavg()[0]:.1f}")
    with scratch_daemon() as daemon, tempfile.TemporaryDirectory() as name:
        archive = Path(name) / "busybox.tar"
        subprocess.run([sys.executable, "hack/build-images", "--demo", str(archive)], check=True, capture_output=True)
        done = daemon.command("images", "import", str(archive))
        assert done.returncode == 0, done.stderr
        turns(daemon, rounds)
        settings(daemon, enable=True)
        with go_plugins(daemon, Path(name)) as plugins:
            hooks(daemon, plugins, rounds)
        with go_plugins(daemon, Path(name)) as plugins:
            crowd(daemon, plugins)
    print(json.dumps({"rounds": rounds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
