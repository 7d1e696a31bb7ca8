"""The driver's front: plan, move, verify, return, recover. Each verb of the runtime calls one of these.

devices = NetDevices(state_dir / "netdev")
await devices.recover(pods)                                   # once, before serving
async with await devices.plan(requests, pod, Mover.RUNTIME) as plan:
    await plan.begin()                                        # the built-in mover moves here
    spec["linux"]["netDevices"] = plan.entries                # {} for the built-in mover
    ... create the container ...                              # the OCI runtime moves here
    await plan.verify_and_repair()                            # READY; leaving early rolls everything back
await devices.return_devices(pod)                             # at stop, before CNI DEL
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from crishim.netdev.records import Attachment, Mover, Pod, Request


class Plan:
    """What one container's devices need. Made by NetDevices.plan(); holds the pod's device lock until it is settled.

    attachments: every device of the container, those already in the pod too.
    entries: for linux.netDevices of config.json, {host name: {"name": in-pod name}}; only devices the OCI runtime is
    to move. Empty when all are in the pod already, or the built-in mover does it.
    """

    attachments: tuple[Attachment, ...]
    entries: Mapping[str, Mapping[str, str]]

    async def begin(self) -> None:
        """Put our altname on the devices, and with the built-in mover move them: all, or none and an error."""
        raise NotImplementedError

    async def verify_and_repair(self) -> tuple[Attachment, ...]:
        """After the container was created and before it starts: check and repair names, addresses, UP; READY.

        Raises PRECONDITION if a device is not there and cannot be brought there; call rollback() then.
        """
        raise NotImplementedError

    async def rollback(self) -> None:
        """Bring back what this plan moved, as it was, and end the leases. Nothing happens after verify_and_repair."""
        raise NotImplementedError

    async def __aenter__(self) -> "Plan":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Roll back unless verify_and_repair succeeded."""
        await self.rollback()


class NetDevices:
    """Network devices of all pods of this node: the journal, the leases, the moves."""

    def __init__(
        self,
        journal: Path,
        *,
        host_netns: Path | None = None,
        allow_node_device: bool = False,
        node_addresses: Sequence[str] = (),
        dad_timeout: float = 3.0,
    ) -> None:
        """journal: directory of the attachment files, made if missing. host_netns: where devices come from, the
        process's own namespace if None. dad_timeout: seconds to wait for duplicate address detection."""
        raise NotImplementedError

    async def plan(self, requests: Sequence[Request], pod: Pod, mover: Mover) -> Plan:
        """Merge the requests, check everything, lease, capture, and journal INTENT; nothing is touched yet.

        Raises INVALID (a bad name), NOT_FOUND (no such device), PRECONDITION (clash, immovable, in use, host network),
        ABORTED (another pod holds it: fact `holder`). The host's links are then exactly as they were.
        """
        raise NotImplementedError

    async def return_devices(self, pod: Pod) -> tuple[Attachment, ...]:
        """Give every device of the pod back to the host; idempotent. Returns the attachments as they ended (DONE, LOST).

        Call it after the containers have stopped, while the namespace lives, before CNI DEL. A LOST device is no
        error. Raises INTERNAL if a device is still in the pod and the kernel refuses: the stop must be retried.
        """
        raise NotImplementedError

    async def forget(self, pod_id: str) -> None:
        """Drop what is left of a removed pod: LOST records."""
        raise NotImplementedError

    async def recover(self, pods: Sequence[Pod]) -> tuple[Attachment, ...]:
        """Read the journal, compare it with the kernel, finish or undo. pods: those whose namespace is alive.

        INTENT and MOVED are undone (no container was started with them), READY of a living pod is verified,
        RETURNING is finished, everything of a pod that is not alive is returned. Returns what is attached now.
        """
        raise NotImplementedError

    async def attach(self, pod: Pod, request: Request) -> Attachment:
        """Give a device to a running pod, by the built-in mover. Errors as plan()."""
        raise NotImplementedError

    async def detach(self, pod: Pod, device: str) -> Attachment:
        """Return one device of a running pod, named by its host name, an altname, or its in-pod name. NOT_FOUND."""
        raise NotImplementedError

    def attachments(self, pod_id: str = "") -> list[Attachment]:
        """What is attached, of one pod or of all, oldest first. From memory: no lock, no system call."""
        raise NotImplementedError
