"""Records of network devices given to pods: requests, and the attachment as it is journalled.

An attachment belongs to a pod, not to a container: the first container that names the device gets it moved, later ones
find it there. Its life, one state at a time, each on disk before the next effect:

    INTENT     captured and leased, nothing touched yet
    MOVED      in the pod's namespace, not verified
    READY      verified: name, addresses, UP
    RETURNING  being returned to the host
    DONE       back on the host as it was (the file is removed: DONE is never read back)
    DOWN       back on the host, but the kernel will not bring it up: `reason`. Its pod does not hold it any more
    LOST       neither in the pod nor on the host: moved to a nested namespace, or destroyed

Times are nanoseconds since the epoch. Addresses and routes are kept as the kernel wrote them (netlink attributes), so
that what this code does not know is restored too.
"""

from enum import StrEnum

from crishim.errors import CrishimError, Kind
from crishim.linux.bpf import BpfProgram
from crishim.linux.devconf import Devconf
from crishim.linux.netlink.addresses import Address
from crishim.linux.netlink.ethtool import Tuning
from crishim.linux.netlink.neighbours import Ageing, Neighbour
from crishim.linux.netlink.nexthops import Nexthop
from crishim.linux.netlink.queueing import TcObject
from crishim.linux.netlink.routes import Route
from crishim.model import Record


class Source(StrEnum):
    """Who asked for a device."""

    CDI = "cdi"
    NRI = "nri"
    ANNOTATION = "annotation"
    COMMAND = "command"  # crishim netdev attach


class Mover(StrEnum):
    """Who moves a device into the pod."""

    RUNTIME = "runtime"  # the OCI runtime, from linux.netDevices in config.json
    BUILTIN = "builtin"


class State(StrEnum):
    INTENT = "intent"
    MOVED = "moved"
    READY = "ready"
    RETURNING = "returning"
    DONE = "done"
    DOWN = "down"
    LOST = "lost"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.INTENT: frozenset({State.MOVED, State.RETURNING, State.DONE, State.LOST}),
    State.MOVED: frozenset({State.READY, State.RETURNING, State.LOST}),
    State.READY: frozenset({State.RETURNING, State.LOST}),
    State.RETURNING: frozenset({State.DONE, State.DOWN, State.LOST}),
    State.DONE: frozenset(),
    State.DOWN: frozenset({State.DONE, State.LOST}),
    State.LOST: frozenset({State.DONE, State.DOWN}),  # a lost device may reappear
}
ORPHANED = frozenset({State.DOWN, State.LOST})  # not attached any more, and not as they were either: no lease


def check_transition(before: State, after: State) -> None:
    """Raise INTERNAL unless an attachment may go from `before` to `after`; staying is always allowed."""
    if before != after and after not in TRANSITIONS[before]:
        raise CrishimError(Kind.INTERNAL, f"a network device's attachment cannot go from {before} to {after}")


class DeviceRequest(Record, frozen=True, kw_only=True):
    """One request: this host device, under this name in the pod."""

    device: str  # name or altname on the host
    name: str = ""  # in the pod; "" keeps the host's name, "net%d" takes the first free number
    source: Source
    origin: str = ""  # what exactly asked: a CDI device, an NRI plugin, an annotation


class PodRef(Record, frozen=True, kw_only=True):
    """The pod a device goes to, as far as this driver needs it."""

    id: str
    netns: str  # path of its pinned network namespace; "" for a pod on the host's network
    title: str = ""  # "namespace/name" for texts; the id if empty
    namespace: str = ""  # Kubernetes namespace, for netdevices.allow

    def __str__(self) -> str:
        return self.title or self.id[:13]


class Identity(Record, frozen=True, kw_only=True):
    """What identifies a device and no pod can change or forge (identity.py)."""

    inode: int = 0  # of its directory in sysfs: one for each device in the life of a kernel; 0: not known
    kind: str = ""  # veth, macvlan, ...; "" for hardware
    bus: str = ""  # of hardware, "" for the rest: "pci"
    bus_device: str = ""  # "0000:03:00.0"
    port: str = ""
    permanent_mac: bytes = b""


class Captured(Record, frozen=True, kw_only=True):
    """A host link as it was before anything was touched."""

    index: int
    name: str
    altnames: tuple[str, ...] = ()
    kind: str = ""  # veth, macvlan, ...; "" for hardware
    mtu: int = 0
    mac: bytes = b""
    flags: int = 0  # IFF_*
    queue_length: int = 0
    group: int = 0
    alias: str = ""
    xdp: bool = False  # in records of older daemons: had an XDP program
    parent: int = 0  # ifindex of the lower device, 0 if none
    parent_netns: int | None = None  # its namespace id as the host counts; None: the same namespace
    settings: Devconf = Devconf()  # net.ipv4.conf and net.ipv6.conf
    ageing: tuple[Ageing, ...] = ()  # net.ipv4.neigh and net.ipv6.neigh
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    # Not in records of older daemons: empty there, and then left alone.
    complete: bool = False  # what follows was captured
    taken: int = 0  # when, in nanoseconds after boot (CLOCK_BOOTTIME): lifetimes count from there
    attributes: bytes = b""  # link_attributes.keep
    tunings: tuple[Tuning, ...] = ()  # ethtool
    files: tuple[tuple[str, str], ...] = ()  # device_files: queues, NAPI, a driver's own
    sysctls: tuple[tuple[str, str], ...] = ()  # of devconf.FILES: settings that are in no netlink message
    programs: tuple[BpfProgram, ...] = ()  # BPF: XDP, tcx, of tc filters
    entries: tuple[Neighbour, ...] = ()  # neighbours, proxied ones, forwarding entries a user made
    multicast: tuple[bytes, ...] = ()  # link-layer filters a user set
    groups: frozenset[str] = frozenset()  # IP multicast groups of the host's programs
    queueing: tuple[TcObject, ...] = ()  # disciplines, classes, filters with a handle
    nexthops: tuple[Nexthop, ...] = ()
    vf_settings: bytes = b""  # of a virtual function (SR-IOV), what the host set of it through the physical one


class Attachment(Record, frozen=True, kw_only=True, tag_field="schema", tag=1):
    """A device in a pod, being moved there, or being returned. One JSON file each in the journal."""

    id: str  # 16 hex digits; also in the altname this project puts on the link
    pod: PodRef
    netns_inode: int  # of the pod's network namespace
    state: State
    mover: Mover
    sources: tuple[str, ...]  # "cdi: vendor.com/nic=a", in the order of the merge
    wanted: str  # name as asked for: may hold %d
    name: str  # in the pod
    host: Captured
    identity: Identity = Identity()
    boot: str = ""  # the kernel's boot id: a record of an earlier boot means nothing any more
    index: int = 0  # ifindex in the pod, 0 until known
    addresses: tuple[str, ...] = ()  # as verified in the pod, "192.0.2.7/24"
    warnings: tuple[str, ...] = ()  # what could not be carried over or restored, one sentence each
    reason: str = ""  # why LOST or DOWN, or why the kernel refused the return
    refusals: int = 0  # times the kernel refused to move it back
    since: int = 0  # when it became READY (or was planned, before)
    changed: int = 0  # last transition

    @property
    def device(self) -> str:
        """Its name on the host."""
        return self.host.name

    @property
    def status(self) -> str:
        """The state, for people."""
        return f"returned, down: {self.reason}" if self.state is State.DOWN else str(self.state)

    @property
    def altname(self) -> str:
        """Our altname on the link while it is attached: to find it quickly, and for people; no proof, as a pod may put
        it on any link."""
        return f"crishim-{self.id}"


def held_by(holder: Attachment, device: str) -> CrishimError:
    """The error for a device another pod has: ABORTED, with the facts device and holder (the pod's id)."""
    text = f"device {device} is held by pod {holder.pod} as {holder.name}"
    return CrishimError(Kind.ABORTED, text, device=device, holder=holder.pod.id)
