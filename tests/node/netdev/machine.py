"""Random interleavings of a host, its pods and a daemon that dies, beside a model of the host's links.

The model is small: where each device is, and what the host's administrator last made of it. Whatever pods and kills do,
a device that is on the host must look exactly like that, and there must be no link that the model does not know.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from crishim.errors import CrishimError, Kind
from crishim.linux import namespaces
from crishim.netdev.records import State
from tests.node.netdev.conftest import KITS
from tests.node.netdev.doomed import ATTACH, RETURN
from tests.node.netdev.lab import Lab, counted
from tests.node.netdev.mischief import MISCHIEF, Held, PodModel

T = TypeVar("T")
DOOMED = Path(__file__).with_name("doomed.py")
ROOT = Path(__file__).parents[3]
MOST_DEVICES, MOST_PODS = 4, 3
pick = st.integers(min_value=0, max_value=11)


class HostMachine(RuleBasedStateMachine):
    """One host. free: devices on it, each with its picture; pods: what each was given."""

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.counting = contextlib.ExitStack()
        self.counting.enter_context(counted())
        self.lab = Lab(next(k for k in KITS if k.name.startswith("builtin")))
        self.loop = asyncio.new_event_loop()
        self.free: dict[str, dict[str, Any]] = {}
        self.pods: list[PodModel] = []
        self.made = 0
        self.lab.demo("base0")  # macvlans stand on it; it is never given
        self.base = self.lab.names()
        self.wait(self.lab.devices.recover([]))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.lab.close()
        self.counting.close()

    # --- the host's administrator ------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.free) + sum(len(p.held) for p in self.pods) < MOST_DEVICES)
    @rule(kind=st.sampled_from(["veth", "ifb", "macvlan", "tap"]))
    def device_appears(self, kind: str) -> None:
        self.made += 1
        name = f"d{self.made}"
        if kind == "veth":
            self.lab.demo(name)
        else:
            words = {"ifb": "type ifb", "macvlan": "link base0 type macvlan", "tap": ""}[kind]
            self.lab.ip(f"link add {name} {words}" if words else f"tuntap add {name} mode tap")
            self.lab.ip(f"addr add 198.18.{self.made % 250}.1/24 dev {name}")
            self.lab.ip(f"link set {name} up")
        self.free[name] = self.lab.picture(name)

    @precondition(lambda self: self.free)
    @rule(which=pick, what=st.sampled_from(["mtu", "address", "alias", "route", "down", "setting", "delete"]))
    def host_changes(self, which: int, what: str) -> None:
        name = sorted(self.free)[which % len(self.free)]
        if what == "delete":
            self.lab.ip(f"link del {name}")
            del self.free[name]
            return
        words = {
            "mtu": f"link set {name} mtu {1300 + which}",
            "address": f"addr replace 203.0.113.{which + 1}/32 dev {name}",
            "alias": f"link set {name} alias a{which}",
            "route": f"route replace blackhole 10.9.{which}.0/24",
            "down": f"link set {name} down",
            "setting": f"link set {name} addrgenmode none",
        }[what]
        self.lab.ip(words)
        self.free[name] = self.lab.picture(name)

    # --- pods --------------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.pods) < MOST_PODS)
    @rule()
    def pod_appears(self) -> None:
        self.made += 1
        self.pods.append(PodModel(self.lab.pod(f"p{self.made}", cni=False)))

    @precondition(lambda self: self.pods and self.free)
    @rule(which=pick, whose=pick)
    def attach(self, which: int, whose: int) -> None:
        name = sorted(self.free)[which % len(self.free)]
        pod = self.pods[whose % len(self.pods)]
        (attached,) = self.wait(self.lab.attach(pod.pod, (name, f"n{name}"), run=False))
        assert attached.state is State.READY
        pod.held[name] = Held(f"n{name}", attached.index, self.free.pop(name))

    @precondition(lambda self: any(p.held for p in self.pods))
    @rule(which=pick, whose=pick)
    def attach_what_a_pod_has(self, which: int, whose: int) -> None:
        """Its own pod finds it in place; another is told who has it, also by a lying or lost device's pod."""
        holders = [(p, n) for p in self.pods for n in sorted(p.held)]
        holder, name = holders[which % len(holders)]
        pod = self.pods[whose % len(self.pods)]
        held = holder.held[name]
        error = self.refusal(pod, name, held.name)
        if error is None:
            assert pod is holder
            assert not held.is_away
        else:
            assert pod is not holder or held.is_away or held.is_renamed, error
            assert error.kind in (Kind.ABORTED, Kind.NOT_FOUND, Kind.PRECONDITION), error

    def refusal(self, pod: PodModel, device: str, name: str) -> CrishimError | None:
        try:
            self.wait(self.lab.attach(pod.pod, (device, name), run=False))
        except CrishimError as error:
            return error
        return None

    @precondition(lambda self: any(p.held for p in self.pods))
    @rule(which=pick, what=st.sampled_from(sorted(MISCHIEF)))
    def mischief(self, which: int, what: str) -> None:
        holders = [(p, n) for p in self.pods for n in sorted(p.held)]
        pod, name = holders[which % len(holders)]
        if not pod.held[name].is_away:
            MISCHIEF[what](self.lab, pod, pod.held[name])

    @precondition(lambda self: self.pods)
    @rule(whose=pick)
    def stop(self, whose: int) -> None:
        pod = self.pods[whose % len(self.pods)]
        self.returned(pod, self.wait(self.lab.devices.return_devices(pod.pod)))

    def returned(self, pod: PodModel, ended: Any) -> None:
        states = {a.device: a.state for a in ended}
        for name, held in pod.held.items():
            if held.is_away:
                assert states.get(name, State.LOST) is State.LOST, (name, states)
            else:
                assert states.get(name, State.DONE) is State.DONE, (name, states)
                self.free[name] = held.picture
        pod.held.clear()

    @precondition(lambda self: self.pods)
    @rule(whose=pick)
    def remove(self, whose: int) -> None:
        pod = self.pods.pop(whose % len(self.pods))
        self.returned(pod, self.wait(self.lab.devices.return_devices(pod.pod)))
        self.wait(self.lab.devices.forget(pod.pod.id))
        for pin in (Path(pod.pod.netns), *pod.nested):
            namespaces.unpin(pin)
            self.lab.pins.remove(pin)
        assert not self.lab.devices.attachments(pod.pod.id)

    # --- the daemon --------------------------------------------------------------------------------------------------

    @rule()
    def daemon_restarts(self) -> None:
        self.lab.devices = self.lab.driver()
        self.wait(self.lab.devices.recover([p.pod for p in self.pods]))

    @precondition(lambda self: self.pods and self.free)
    @rule(which=pick, whose=pick, point=st.sampled_from([*ATTACH, *RETURN]))
    def daemon_is_killed(self, which: int, whose: int, point: str) -> None:
        """While it gives or takes back one device; the next daemon finishes, and the pod's others stay."""
        name = sorted(self.free)[which % len(self.free)]
        pod = self.pods[whose % len(self.pods)]
        if pod.held:
            return  # whose return would be under way as well
        pods = msgspec.json.encode([p.pod for p in self.pods]).decode()
        mine = msgspec.json.encode(pod.pod).decode()
        argv = [sys.executable, str(DOOMED), str(self.lab.directory), self.lab.kit.name, mine, point, pods, name]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(argv, env=environment, capture_output=True, check=False, timeout=60)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        self.daemon_restarts()
        if point == "READY on disk":
            attached = {a.device: a for a in self.lab.devices.attachments(pod.pod.id)}
            pod.held[name] = Held("net1", attached[name].index, self.free.pop(name))

    # --- what must always hold ---------------------------------------------------------------------------------------

    @invariant()
    def the_host_is_as_its_administrator_left_it(self) -> None:
        HostMachine.steps += 1
        links = self.lab.names()
        peers = {x for x in links if x.endswith("-peer")}
        assert links - self.base - peers == set(self.free)
        for name, picture in self.free.items():
            assert _comparable(self.lab.picture(name)) == _comparable(picture), name


def _comparable(picture: dict[str, Any]) -> dict[str, Any]:
    """Without the ifindex: another link may have taken it meanwhile, and then a new one is right."""
    return {k: v for k, v in picture.items() if k != "ifindex"}
