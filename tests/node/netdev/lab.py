"""A throw-away host: a network namespace that plays the node, pods beside it, and bare OCI runtimes inside.

iproute2 is the second opinion: what the tests compare was not read by the code under test.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from crishim.device_rules import Rule
from crishim.linux import namespaces
from crishim.netdev.driver import NetDevices
from crishim.netdev.plan import Plan
from crishim.netdev.policy import Policy, Terms
from crishim.netdev.records import Attachment, DeviceRequest, Mover, PodRef, Source
from tests.node.netdev.runtimes import Container, Kit

T = TypeVar("T")
ROOT = Path(f"/run/crishim-netdev-lab-{os.getpid()}")  # two pytests would remove one directory under each other
ANYTHING = Terms(Policy([Rule(devices=["*"], namespaces=["*"])]))
MADE: set[str] = set()  # directory names of this process's labs: other runs' cgroups are not ours to count
SETTINGS_NOT_OURS = {"mc_forwarding", "stable_secret", "mtu"}


class Lab:
    """host: the namespace that plays the node. Everything else hangs below `directory`."""

    def __init__(self, kit: Kit, directory: Path | None = None) -> None:
        """directory: of another process's lab, to work in as its daemon would."""
        self.kit = kit
        self.directory = directory or ROOT / uuid.uuid4().hex[:8]
        self.containers: list[Container] = []
        self.drivers: list[NetDevices] = []
        self.pins: list[Path] = []
        self.host = self.directory / "host.net"
        if directory is None:
            MADE.add(self.directory.name)
            self.directory.mkdir(parents=True)
            self.namespace("host")
        self.devices = self.driver()

    def driver(self, terms: Terms | None = None, **options: Any) -> NetDevices:
        """A driver as a freshly started daemon has it, on the same journal."""
        made = NetDevices(self.journal, host_netns=self.host, terms=terms or ANYTHING, **options)
        self.drivers.append(made)
        return made

    @property
    def journal(self) -> Path:
        return self.directory / "journal"

    def namespace(self, name: str) -> Path:
        path = self.directory / f"{name}.net"
        namespaces.make({"net": path}, lambda: None)
        self.pins.append(path)
        self.ip("link set lo up", path)
        return path

    def pod(self, name: str = "pod-a", *, cni: bool = True) -> PodRef:
        """A pod with an eth0 (a veth whose other end is in the pod too, so that no other namespace is involved)."""
        path = self.namespace(name)
        if cni:
            self.ip("link add eth0 type veth peer name eth0-peer", path)
            self.ip("link set eth0-peer up", path)
            self.ip("link set eth0 up", path)
            self.ip("addr add 10.88.0.2/16 dev eth0", path)
        return PodRef(id=f"{name}-0123456789abcdef", netns=str(path), title=f"default/{name}")

    def container(self, pod: PodRef, entries: Any = None) -> Container:
        return Container(self, self.kit.runtime, Path(pod.netns), entries)

    async def plan(self, pod: PodRef, *wishes: tuple[str, str]) -> Plan:
        return await self.devices.plan([request(*w) for w in wishes], pod, self.kit.mover)

    async def attach(self, pod: PodRef, *wishes: tuple[str, str], run: bool = True) -> tuple[Attachment, ...]:
        """A container with these devices, created and started as the operations do it."""
        async with await self.plan(pod, *wishes) as plan:
            await plan.begin()
            if run or self.kit.mover is Mover.RUNTIME:
                container = self.container(pod, plan.entries)
                container.create()
            attached = await plan.verify_and_repair()
            if run:
                container.start()
        return attached

    def ip(self, words: str, netns: Path | str | None = None, *, check: bool = True) -> str:
        argv = ["nsenter", f"--net={netns or self.host}", "ip", *words.split()]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise RuntimeError(f"ip {words}: {done.stderr}")
        return done.stdout

    def tc(self, words: str, netns: Path | str | None = None) -> list[str]:
        """What tc(8) says, by line."""
        argv = ["nsenter", f"--net={netns or self.host}", "tc", *words.split()]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()

    def answers(self, address: str) -> bool:
        """Whether a ping from the host is answered within a second."""
        argv = ["nsenter", f"--net={self.host}", "busybox", "ping", "-c", "1", "-W", "1", address]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def batch(self, lines: list[str]) -> None:
        argv = ["nsenter", f"--net={self.host}", "ip", "-batch", "-"]
        subprocess.run(argv, input="\n".join(lines), text=True, capture_output=True, check=True)

    def json(self, words: str, netns: Path | str | None = None) -> Any:
        return json.loads(self.ip(f"-j -d {words}", netns) or "[]")

    def demo(self, name: str = "demo0") -> dict[str, Any]:
        """A veth on the host with carrier, verified IPv4 and IPv6 addresses and MTU 1400; its picture."""
        self.ip(f"link add {name} mtu 1400 type veth peer name {name}-peer mtu 1400")
        self.ip(f"link set {name}-peer up")
        self.ip(f"link set {name} up")
        number = sum(name.encode()) % 200
        self.ip(f"addr add 192.0.{number}.7/24 dev {name}")
        self.ip(f"addr add 2001:db8:{number}::7/64 dev {name} nodad")
        return self.picture(name)

    def link(self, name: str, netns: Path | str | None = None) -> dict[str, Any] | None:
        """A link as iproute2 tells it; None if there is none."""
        out = self.ip(f"-j -d link show dev {name}", netns, check=False)
        return json.loads(out)[0] if out.strip() else None

    def names(self, netns: Path | str | None = None) -> set[str]:
        return {x["ifname"] for x in self.json("link show", netns)}

    def addresses(self, name: str, netns: Path | str | None = None) -> list[dict[str, Any]]:
        """Addresses but for IPv6's link-local ones, without what changes by itself."""
        infos = self.json(f"addr show dev {name}", netns)[0]["addr_info"]
        return [a for a in infos if a and not (a["family"] == "inet6" and a["scope"] == "link")]

    def inside(self, netns: Path | str, work: Callable[[], T]) -> T:
        return namespaces.inside({"net": netns}, work)

    def settings(self, name: str, netns: Path | str | None = None) -> dict[str, str]:
        """Every net.ipv4.conf, net.ipv6.conf and neigh setting of a link, read from its files."""

        def read() -> dict[str, str]:
            found = {}
            for family in ("ipv4", "ipv6"):
                for file in Path(f"/proc/sys/net/{family}/conf/{name}").glob("*"):
                    with contextlib.suppress(OSError):
                        found[f"{family}.{file.name}"] = file.read_text().strip()
                for file in Path(f"/proc/sys/net/{family}/neigh/{name}").glob("*"):
                    found[f"{family}.neigh-{file.name}"] = file.read_text().strip()
            return {k: v for k, v in found.items() if k.split(".")[1] not in SETTINGS_NOT_OURS}

        return self.inside(netns or self.host, read)

    def picture(self, name: str) -> dict[str, Any]:
        """All there is to say about a host link and its routes; equal before and after is the point of it all."""
        link = self.link(name)
        assert link is not None, f"{name} is not on the host"
        kept = ("ifname", "ifindex", "mtu", "address", "link_type", "txqlen", "group", "ifalias", "linkinfo")
        addresses = [
            {k: v for k, v in a.items() if k not in ("tentative", "valid_life_time", "preferred_life_time")}
            for a in self.addresses(name)
        ]
        routes = [r for family in ("-4", "-6") for r in self.json(f"{family} route show table all dev {name}")]
        shown = [
            {k: v for k, v in r.items() if k not in ("flags", "cache")}
            for r in routes
            if "fe80" not in str(r) and r.get("protocol") != "kernel"  # which come in their own time
        ]
        return {
            **{k: link.get(k) for k in kept},
            "altnames": sorted(link.get("altnames", [])),
            "flags": sorted(set(link["flags"]) & {"UP", "NOARP", "PROMISC", "MULTICAST", "ALLMULTI"}),
            "addresses": addresses,
            "routes": sorted(shown, key=str),
            "settings": self.settings(name),
        }

    def close(self) -> None:
        for container in list(self.containers):
            container.kill()
        for driver in self.drivers:  # their daemons have ended
            driver._sysfs.close()
        for bundle in self.directory.glob("netdev-lab-*"):  # of a process that was killed
            Container.left_behind(self, bundle).kill()
        for pin in self.pins:
            namespaces.unpin(pin)
        shutil.rmtree(self.directory)
        with contextlib.suppress(OSError):
            ROOT.rmdir()


def request(device: str, name: str = "", source: Source = Source.ANNOTATION) -> DeviceRequest:
    return DeviceRequest(device=device, name=name, source=source)


def census() -> dict[str, list[str]]:
    """What could leak: links of the tests' namespace, our mounts, open descriptors, cgroups of our containers."""
    mine = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(ROOT) in line]
    cgroups = [str(p) for name in MADE for p in Path("/sys/fs/cgroup").glob(f"*/netdev-lab-{name}-*")]
    fds = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)}
    kinds = ("net:", "socket:", str(ROOT))
    spaces = [f"{fd} {what}" for fd, what in fds.items() if what.startswith(kinds) or what == "/"]  # a detached mount
    return {
        "links": sorted(os.listdir("/sys/class/net")),
        "mounts": mine,
        "cgroups": cgroups,
        "descriptors": spaces,
    }


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


@contextlib.contextmanager
def counted() -> Iterator[None]:
    """Nothing is left behind or lost. A descriptor of before may be closed: the collector does so to earlier tests'."""
    before = census()
    yield
    after = census()
    opened = sorted(set(after.pop("descriptors")) - set(before.pop("descriptors")))
    assert (after, opened) == (before, []), f"left behind or lost: {before} before, {after} after, {opened} opened"


class _IfAddrs(ctypes.Structure):
    """struct ifaddrs, getifaddrs(3): the head is all that is looked at."""


_IfAddrs._fields_ = [
    ("next", ctypes.POINTER(_IfAddrs)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
]


def getifaddrs_names() -> set[str]:
    """Names under which getifaddrs(3) reports IPv4 addresses in this thread's namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    head = ctypes.POINTER(_IfAddrs)()
    assert libc.getifaddrs(ctypes.byref(head)) == 0
    found, entry = set(), head
    while entry:
        address = entry.contents.address
        if address and ctypes.c_ushort.from_address(address).value == socket.AF_INET:
            found.add(entry.contents.name.decode())
        entry = entry.contents.next
    libc.freeifaddrs(head)
    return found


def siocgifaddr(name: str) -> str:
    """The address the SIOCGIFADDR ioctl tells for an interface, netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        answer = fcntl.ioctl(made, 0x8915, struct.pack("256s", name.encode()))
    return socket.inet_ntoa(answer[20:24])


def can_bind(address: str) -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as made:
        try:
            made.bind((address, 0))
        except OSError:
            return False
    return True
