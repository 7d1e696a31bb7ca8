"""kill -9 of the daemon at random instants, under load, under every runtime: nothing is lost, nothing is left.

The instant is drawn anew each time: while the daemon serves, or while it is still starting. Every ROUND kills the load
is let run out, and the node must be as it was before it.
"""

import os
import random
import signal
import time
from pathlib import Path

from hack.campaigns.client import Client
from hack.campaigns.ground import Device, a_node, a_registry
from hack.campaigns.load import Pod, Worker, pod_work, pull_work
from hack.campaigns.table import Row
from tests.support.daemon import Daemon
from tests.support.image_node import random_layer
from tests.support.residue import left_behind, named

ROUND = 25
HANDLERS = ("crun", "runc")


def campaign(kills: int, seed: int) -> list[Row]:
    """Kill that many times; a row for the kills and one for what the load made of them."""
    row = Row("kills", "kill -9 under load, crun and runc")
    chance = random.Random(seed)
    slowest, repeated, rounds = 0.0, 0, 0
    devices = [Device(n) for n in range(1, 7)]
    try:
        with a_registry() as registry, a_node(registry) as daemon:
            registry.push(["campaign/image:1"], [random_layer(2)])
            bystanders = _bystanders(daemon, devices[4:])
            before = _everything(daemon)
            while row.runs < kills and not _hopeless(row):
                workers = _load(daemon, devices[:4], f"{registry.address}/campaign/image:1", chance)
                for _ in range(min(ROUND, kills - row.runs)):
                    slowest = max(slowest, _kill(daemon, chance))
                    row.runs += 1
                    row.lost += [what for pod, pid in bystanders for what in _changed(pod, pid)]
                for worker in workers:
                    worker.stopping.set()
                for worker in workers:
                    worker.join(120)
                    if worker.is_alive():
                        row.lost.append(f"{worker.name} does not end")
                    row.lost += worker.lost
                    repeated += worker.client.repeated
                    rounds += worker.rounds
                row.left += named(left_behind(lambda: _everything(daemon), before, 10))
                print(f"kills: {row.runs} of {kills}, lost {len(row.lost)}, left {len(row.left)}", flush=True)
            row.lost += [what for pod, _ in bystanders if (what := pod.remove())]
    finally:
        for device in devices:
            device.remove()
    row.says = f"longest restart {slowest:.1f} s; {rounds} pods and pulls, {repeated} calls repeated; seed {seed}"
    return [row]


def _hopeless(row: Row) -> bool:
    return len(row.lost) + len(row.left) > 50


def _bystanders(daemon: Daemon, devices: list[Device]) -> list[tuple[Pod, int]]:
    """A pod under each runtime that lives through everything, with the pid of its container."""
    made = []
    for handler, device in zip(HANDLERS, devices, strict=True):
        pod = Pod(Client(daemon), f"bystander-{handler}", handler, device)
        pod.run()
        pod.start()
        assert not (what := pod.check()), what
        made.append((pod, pod.process()))
    return made


def _changed(pod: Pod, pid: int) -> list[str]:
    found = pod.check()
    if not found and pod.process() != pid:
        found = f"{pod.handler} bystander {pod.container[:13]} is another process than before"
    return [found] if found else []


def _load(daemon: Daemon, devices: list[Device], image: str, chance: random.Random) -> list[Worker]:
    work = [pod_work(HANDLERS[i % 2], device) for i, device in enumerate(devices)] + [pull_work(image)]
    workers = [Worker(w, daemon, chance.getrandbits(32)) for w in work]
    for worker in workers:
        worker.start()
    return workers


def _kill(daemon: Daemon, chance: random.Random) -> float:
    """Kill the daemon at a random instant and start it again; the seconds until it served."""
    assert daemon.process is not None
    time.sleep(chance.uniform(0, 1.5))
    _die(daemon)
    if chance.random() < 0.2:  # and once more before it serves
        daemon.launch()
        time.sleep(chance.uniform(0.1, 1.5))
        _die(daemon)
    started = time.monotonic()
    daemon.wait_serving(daemon.launch(), 60)
    return time.monotonic() - started


def _die(daemon: Daemon) -> None:
    assert daemon.process is not None
    os.kill(daemon.process.pid, signal.SIGKILL)
    assert daemon.process.wait(30) == -signal.SIGKILL, "the daemon had ended by itself"


def _everything(daemon: Daemon) -> dict[str, set[str]]:
    """What is on the node: as Daemon.left, and the image store's layers and scratch files."""
    images = daemon.state / "images"
    names = "[0-9a-f]" * 64
    layers = {str(p.relative_to(images)) for p in images.glob(f"overlay/{names}")}
    layers |= {str(p.relative_to(images)) for p in images.glob(f"overlay-images/{names}")}
    scratch = [p for d in ("downloads", "checkpoints") for p in (daemon.state / d).glob("*")]
    scratch += [p for d in ("secrets", "exec") for p in (daemon.run / d).glob("*")]
    return daemon.left() | {"layers": layers, "scratch": {str(Path(p)) for p in scratch}}
