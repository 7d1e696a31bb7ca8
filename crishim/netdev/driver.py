"""The driver of pods' network devices, as operations call it.

    devices = NetDevices(state_dir / "netdev")
    await devices.load()                                          # before any other call
    await devices.recover(pods)                                   # once, before any change
    async with await devices.plan(requests, pod, Mover.RUNTIME) as plan:
        await plan.begin()                                        # the built-in mover moves here
        spec["linux"]["netDevices"] = plan.entries                # {} for the built-in mover
        ... create the container ...                              # the OCI runtime moves here
        await plan.verify_and_repair()                            # READY; leaving early rolls everything back
    await devices.return_devices(pod)                             # at stop, before CNI DEL

The steps are in transaction.py and return_device.py; they run in a thread with a netlink socket in the host's namespace
and one in the pod's (netns_executor.py).
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TypeVar

from crishim.device_rules import Rule
from crishim.errors import CrishimError, Kind
from crishim.linux import executors
from crishim.linux.netns_thread import Netns
from crishim.linux.sysfs import Kept
from crishim.netdev.adopt import boot_id
from crishim.netdev.arrivals import Arrivals
from crishim.netdev.host_list import HostLink, list_links
from crishim.netdev.journal import Journal
from crishim.netdev.lease import Leases
from crishim.netdev.metrics import Metrics
from crishim.netdev.nested_namespaces import SOUGHT, NestedNamespaces, end_with, search
from crishim.netdev.netns_executor import NetnsExecutor
from crishim.netdev.observe import Observation, observe
from crishim.netdev.orphans import Orphans, outlives_its_pod
from crishim.netdev.plan import Plan
from crishim.netdev.pod_watch import PodWatch
from crishim.netdev.policy import Policy, Terms
from crishim.netdev.presence import Presence
from crishim.netdev.records import ORPHANED, Attachment, DeviceRequest, Mover, PodRef, State
from crishim.netdev.return_device import recover_device, return_devices
from crishim.netdev.transaction import Transaction
from crishim.netdev.watch import Watch

log = logging.getLogger("crishim.netdev")
T = TypeVar("T")


class NetDevices:
    """Network devices of all pods of this node: the journal, the leases, the moves."""

    def __init__(
        self,
        journal: Path,
        copies: Path | None = None,
        *,
        host_netns: Path | None = None,
        terms: Terms | None = None,
        dad_timeout: float = 3.0,
    ) -> None:
        """journal: directory of the attachment files, copies: of copies of them; made if missing.
        host_netns: where devices come from, the process's own namespace if None. terms: who may have which device;
        without them an annotation gets none.
        dad_timeout: seconds to wait for duplicate address detection."""
        self.metrics = Metrics()
        self._journal = Journal(journal, copies)
        self._loaded = False
        self._host = Path("/proc/self/ns/net") if host_netns is None else host_netns
        self._nested = NestedNamespaces()
        self._sysfs = Kept()  # of the host
        self._terms = terms or Terms(Policy())
        self._leases = Leases(self._journal, self._terms)
        self._dad_timeout = dad_timeout
        self._locks: dict[str, asyncio.Lock] = {}
        self.orphans = Orphans(self._journal, self._host, self._lock, self._return)
        self._watch = Watch(self.orphans, self._journal, self._host, Arrivals(self._terms.policy))
        self._pod_watch = PodWatch(self._journal, self.metrics)

    def allow(self, rules: Sequence[Rule]) -> None:
        """Replace the rules of `netdevices.allow`. Devices already given stay."""
        self._terms.policy.replace(rules)

    async def plan(self, requests: Sequence[DeviceRequest], pod: PodRef, mover: Mover) -> Plan:
        """Merge the requests, check everything, lease, capture, and journal INTENT; nothing is touched yet.

        Raises DENIED (an annotation no rule allows), INVALID (a bad name), NOT_FOUND (no such device), PRECONDITION
        (clash, immovable, in use, host network), ABORTED (another pod holds it: fact `holder`). The host's links are
        then exactly as they were.
        """
        await self.orphans.fetch_requested(requests)
        transaction = Transaction(pod, self._journal, self._leases, self._dad_timeout)
        if not requests:
            return Plan(transaction, self._executor(""), None, self.metrics)
        lock = self._lock(pod.id)
        await lock.acquire()
        plan = Plan(transaction, self._executor(pod.netns, pod.id), lock, self.metrics)
        await plan.lease(requests, mover)
        return plan

    async def return_devices(self, pod: PodRef) -> tuple[Attachment, ...]:
        """Give every device of the pod back to the host; idempotent. Returns the attachments as they ended.

        Call it after the containers have stopped, while the namespace lives, before CNI DEL. A device that is LOST, or
        DOWN, is no error. Raises INTERNAL if one is still in the pod because the kernel refuses: the stop must be
        retried, a few times at most (return_device.REFUSALS).
        """
        async with self._lock(pod.id):
            attachments = self._journal.all(pod.id)
            return await self._return(attachments, pod.netns or (attachments[0].pod.netns if attachments else ""))

    async def _return(self, attachments: Sequence[Attachment], netns: str) -> tuple[Attachment, ...]:
        if not attachments:
            return ()
        started = time.monotonic()
        path = await executors.kernel(_reachable, netns, attachments[0].netns_inode)

        def work(host: Netns, *ends: Netns) -> list[tuple[Attachment, str]]:
            return return_devices([(a, end_with(a, ends)) for a in attachments], self._journal, host)

        pod_id = attachments[0].pod.id
        ended = await self._run(work, path, pod_id)
        returned = [a for a, _ in ended if a.state is State.DONE]
        self.metrics.observe("return", time.monotonic() - started, len(returned))
        failures = [text for _, text in ended if text]
        if not failures and not any(a.state in SOUGHT for a in self._journal.all(pod_id)):
            self._nested.drop(pod_id)
        for attachment, text in ended:
            if attachment.state is not State.DONE:
                self.metrics.fail("return", "internal" if text else str(attachment.state))
        if failures:
            raise CrishimError(Kind.INTERNAL, failures[0], pod=attachments[0].pod.id)
        return tuple(a for a, _ in ended)

    async def hold_namespaces(self, pod_id: str) -> None:
        """Keep namespaces into which a pod has moved devices, so that these can be returned from there. Never raises.

        Call it before the pod's processes are killed. If such a namespace ended by itself, a virtual device is LOST.
        """
        attachments = self._journal.all(pod_id)
        if not any(a.state in SOUGHT for a in attachments):
            return
        path = await executors.kernel(_reachable, attachments[0].pod.netns, attachments[0].netns_inode)
        try:
            found = await self._run(partial(search, attachments), path)
        except CrishimError as error:
            log.error(f"a pod's devices were not looked for before its end: {error.message}", extra={"pod": pod_id})
            return
        for inode in self._nested.keep(pod_id, found):
            log.warning("a pod has moved a device into a namespace of its own", extra={"pod": pod_id, "netns": inode})

    async def forget(self, pod_id: str) -> None:
        """Drop the LOST and DOWN records of a removed pod, after a last attempt to return the devices.

        Hardware that is LOST stays in the journal: no pod can destroy it, and it may reappear.
        """
        for attachment in self._journal.all(pod_id):
            if attachment.state in ORPHANED:
                await self.orphans.retry(attachment, attachment.pod.netns)
                now = self._journal.find(attachment.id)
                if now is not None and not outlives_its_pod(now):
                    await executors.records(self._journal.drop, now)
        self._locks.pop(pod_id, None)
        self._nested.drop(pod_id)

    async def load(self) -> None:
        """Read the journal, once; attachments() returns what is in it from now on."""
        if not self._loaded:
            await executors.records(self._journal.load)
            self._loaded = True

    async def recover(self, pods: Sequence[PodRef]) -> tuple[Attachment, ...]:
        """Read the journal, compare it with the kernel, finish or undo. pods: those whose namespace is alive.

        INTENT and MOVED are undone (no container was started with them), READY of a living pod is checked,
        RETURNING is finished, everything of a pod that is not alive is returned. Returns what is attached now.
        """
        await self.load()
        alive = {pod.id: pod for pod in pods}
        boot = await executors.records(boot_id)
        for attachment in self._journal.all():
            if attachment.boot != boot:
                await executors.records(self._journal.drop, attachment)
                continue
            try:
                await self._recover(attachment, alive.get(attachment.pod.id))
            except CrishimError as error:
                log.error(error.message, extra={"device": attachment.device, "pod": attachment.pod.id})
        return tuple(self._journal.all())

    async def _recover(self, attachment: Attachment, pod: PodRef | None) -> None:
        path = await executors.kernel(_reachable, pod.netns if pod else attachment.pod.netns, attachment.netns_inode)

        def work(host: Netns, inside: Netns | None = None) -> Attachment:
            return recover_device(attachment, self._journal, host, inside, is_alive=pod is not None)

        ended = await self._run(work, path)
        if ended.state in ORPHANED and pod is None and not outlives_its_pod(ended):
            await executors.records(self._journal.drop, ended)

    async def watch(self) -> None:
        """After recover(): restore devices that reappear on the host and monitor those in pods, until close()."""
        self._pod_watch.start()
        try:
            await self._watch.start()
        except OSError as error:
            log.error("the host's links cannot be watched", extra={"error": str(error)})

    async def close(self) -> None:
        """Stop watching."""
        await self._pod_watch.close()
        await self._watch.close()
        self._sysfs.close()

    async def attach(self, pod: PodRef, request: DeviceRequest) -> Attachment:
        """Give a device to a running pod, by the built-in mover. Errors as plan()."""
        async with await self.plan([request], pod, Mover.BUILTIN) as plan:
            await plan.begin()
            return (await plan.verify_and_repair())[0]

    async def detach(self, pod: PodRef, device: str) -> Attachment:
        """Return one device of a running pod, given by host name, altname or in-pod name. Raises NOT_FOUND."""
        async with self._lock(pod.id):
            attachment = self.find(pod.id, device)
            if attachment is not None:
                return (await self._return([attachment], pod.netns))[0]
        raise CrishimError(Kind.NOT_FOUND, f"pod {pod} has no network device {device}", device=device, pod=pod.id)

    async def host_links(self) -> list[HostLink]:
        """Every link of the host, with the rules that give it or why none does; and those that pods have."""
        return await self._run(lambda host: list_links(host, self._journal.held(), self._terms))

    def find(self, pod_id: str, device: str) -> Attachment | None:
        """A pod's device by its host name, an altname, or its in-pod name. From memory."""
        for attachment in self._journal.all(pod_id):
            if device in (attachment.host.name, *attachment.host.altnames, attachment.name):
                return attachment
        return None

    def attachments(self, pod_id: str = "") -> list[Attachment]:
        """What is attached, of one pod or of all, oldest first. From memory: no lock, no system call."""
        return self._journal.all(pod_id)

    def listening(self, listener: Callable[[Attachment], object]) -> AbstractContextManager[None]:
        """While open, call listener, in any thread, with each attachment whose state has changed."""
        return self._journal.listening(listener)

    def presence(self, attachment: Attachment) -> Presence:
        """A device's presence in its pod as last read, at most a second ago. From memory."""
        return self._pod_watch.presence(attachment.id)

    async def observe(self, attachment: Attachment) -> Observation | None:
        """The device as it is now, read from its pod; None if it is not there. Takes no lock."""
        path = await executors.kernel(_reachable, attachment.pod.netns, attachment.netns_inode)
        return await self._run(lambda _, inside: observe(attachment, inside), path) if path else None

    def _lock(self, pod_id: str) -> asyncio.Lock:
        return self._locks.setdefault(pod_id, asyncio.Lock())

    def _executor(self, netns: str, pod_id: str = "") -> NetnsExecutor:
        """For the host's namespace, the pod's unless netns is "", and those held in nested_namespaces.py."""
        nested = self._nested.handles(pod_id)
        return NetnsExecutor((self._host, *filter(None, (netns,)), *nested), self._sysfs)

    async def _run(self, work: Callable[..., T], netns: str = "", pod_id: str = "") -> T:
        return await self._executor(netns, pod_id).run(work, last=True)


def _reachable(netns: str, inode: int) -> str:
    """The path, if it is still that of the namespace with this inode; else ""."""
    try:
        return netns if netns and os.stat(netns).st_ino == inode else ""  # noqa: PTH116
    except OSError:
        return ""
