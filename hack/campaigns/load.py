"""Work for a node: pod after pod with a device, restarts, commands, pulls and removals, without an end.

Each worker is a thread that holds the node to what it answered: a container that was started runs until it is stopped,
its device has its addresses, and comes home when the pod stops. What does not hold is a sentence in `lost`.
"""

import itertools
import json
import random
import threading
from collections.abc import Callable
from typing import Any

import grpc

from crishim.pb import cri_pb2 as cri
from hack.campaigns.client import Client
from hack.campaigns.ground import Device
from tests.support.daemon import Daemon
from tests.support.pods import annotated, container_config, pod_config

SLEEP = ["sleep", "1000000"]


class Pod:
    """A pod with one device and one container, and the calls of its life."""

    def __init__(self, client: Client, name: str, handler: str, device: Device | None) -> None:
        self._client, self.handler, self.device = client, handler, device
        self.config = pod_config(name, annotations=annotated(**{device.name: "net1"}) if device else {})
        self.id = self.container = self.link = ""
        self._attempt = 0

    def run(self) -> None:
        answer = self._client.call("RunPodSandbox", config=self.config, runtime_handler=self.handler)
        self.id = answer.pod_sandbox_id

    def start(self) -> None:
        """Create the next attempt of the container and start it."""
        config = container_config(attempt=self._attempt, command=SLEEP)
        self._attempt += 1
        made = self._client.call("CreateContainer", pod_sandbox_id=self.id, config=config, sandbox_config=self.config)
        self.container = made.container_id
        self._client.call("StartContainer", container_id=self.container)

    def check(self) -> str:
        """What of a started container does not hold; "" if all does."""
        status = self._client.call("ContainerStatus", container_id=self.container).status
        if status.state != cri.CONTAINER_RUNNING:
            return f"{self.handler} container {self.container[:13]} is {status.state}: {status.reason} {status.message}"
        if self.device is None:
            return ""
        answer = self._client.call(
            "ExecSync", container_id=self.container, cmd=["ip", "addr", "show", "dev", "net1"], timeout=30
        )
        shown = answer.stdout.decode()
        missing = [a for a in self.device.addresses if a not in shown]
        if answer.exit_code or missing:
            return f"{self.device.name} is not whole in its pod: {shown or answer.stderr.decode()}"
        index = shown.partition(":")[0]
        changed = self.link and self.link != index
        self.link = index
        return f"{self.device.name} is another link than before in its pod: {shown}" if changed else ""

    def process(self) -> int:
        """The pid of the container's first process."""
        info = self._client.call("ContainerStatus", container_id=self.container, verbose=True).info["info"]
        return int(json.loads(info)["pid"])

    def end_container(self, *, remove: bool) -> None:
        self._client.call("StopContainer", container_id=self.container, timeout=0)
        if remove:
            self._client.call("RemoveContainer", container_id=self.container)

    def remove(self, *, stop: bool = True) -> str:
        """Take the pod away; what of the device does not hold."""
        if stop:
            self._client.call("StopPodSandbox", pod_sandbox_id=self.id)
        self._client.call("RemovePodSandbox", pod_sandbox_id=self.id)
        return self.device.differs() if self.device else ""


class Worker(threading.Thread):
    """A thread that repeats one piece of work until it is told to stop; what went wrong is in `lost`."""

    def __init__(self, work: Callable[[Client, random.Random], list[str]], daemon: Daemon, seed: int) -> None:
        super().__init__(name=f"{work.__name__} {seed % 1000}", daemon=True)
        self._work, self._random = work, random.Random(seed)
        self.client = Client(daemon)
        self.lost: list[str] = []
        self.rounds = 0
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                self.lost += self._work(self.client, self._random)
            except grpc.RpcError as error:
                self.lost.append(f"{self.name}: {error.code().name}: {error.details()}")
            except AssertionError as error:
                self.lost.append(f"{self.name}: {error}")
            self.rounds += 1
        self.client.close()


_names = itertools.count()


def pod_work(handler: str, device: Device) -> Callable[[Client, random.Random], list[str]]:
    """A pod's whole life with restarts and commands, every call of it repeated until it is answered."""

    def work(client: Client, chance: random.Random) -> list[str]:
        pod = Pod(client, f"load-{next(_names)}", handler, device)
        found = []
        pod.run()
        try:
            for _ in range(chance.randint(1, 3)):
                pod.start()
                found.append(pod.check())
                pod.end_container(remove=chance.random() < 0.5)
        finally:
            found.append(pod.remove(stop=chance.random() < 0.7))
        return [f for f in found if f]

    return work


def pull_work(image: str) -> Callable[[Client, random.Random], list[str]]:
    """An image pulled and removed."""

    def work(client: Client, chance: random.Random) -> list[str]:
        spec: Any = cri.ImageSpec(image=image)
        answer = client.call("PullImage", image=spec)
        listed = {i.id for i in client.call("ListImages").images}
        client.call("RemoveImage", image=spec)
        return [] if answer.image_ref in listed else [f"{image} was pulled and is not listed"]

    return work
