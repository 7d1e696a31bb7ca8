"""The asynchronous interface to one container's device transaction (transaction.py), which runs in its own thread."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType

from crishim.errors import CrishimError
from crishim.linux import executors
from crishim.netdev.metrics import Metrics
from crishim.netdev.netns_executor import NetnsExecutor
from crishim.netdev.records import Attachment, DeviceRequest, Mover
from crishim.netdev.transaction import Transaction
from crishim.netdev.validate import check_network


class Plan:
    """Made by NetDevices.plan(); holds the pod's device lock, and its thread, until it is settled.

    attachments: every device of the container, those already in the pod too.
    entries: for linux.netDevices of config.json, {host name: {"name": in-pod name}}; only devices the OCI runtime is
    to move. Empty when all are in the pod already, or the built-in mover does it.
    """

    def __init__(
        self, transaction: Transaction, executor: NetnsExecutor, lock: asyncio.Lock | None, metrics: Metrics
    ) -> None:
        """lock: held; None if no device is asked for."""
        self._transaction = transaction
        self._executor = executor
        self._lock = lock
        self._metrics = metrics
        self._started = time.monotonic()
        self._settled = False

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        return (*self._transaction.kept, *self._transaction.new)

    @property
    def new(self) -> tuple[Attachment, ...]:
        """Devices that this container adds to the pod."""
        return tuple(self._transaction.new)

    @property
    def entries(self) -> Mapping[str, Mapping[str, str]]:
        return self._transaction.entries

    async def lease(self, requests: Sequence[DeviceRequest], mover: Mover) -> None:
        """The first step. Raises as NetDevices.plan(); the plan is settled then."""
        try:
            check_network(requests, self._transaction.pod)
            await self._executor.run(partial(self._transaction.lease, requests, mover))
        except BaseException as error:
            self._metrics.fail("attach", error.kind.value if isinstance(error, CrishimError) else "internal")
            try:
                await executors.records(self._transaction.abandon)
            finally:
                await self._settle()
            raise

    async def begin(self) -> None:
        """Put our altname on the devices, and with the built-in mover move them: all, or none and an error.

        Devices in the pod are checked and repaired, so that hooks of the runtime's create find them complete. Raises
        NOT_FOUND or PRECONDITION after a rollback.
        """
        if self._transaction.is_empty:
            return
        try:
            await self._executor.run(self._transaction.begin)
        except BaseException:
            await self.rollback()
            raise

    async def verify_and_repair(self) -> tuple[Attachment, ...]:
        """After the container was created and before it starts: check and repair what the OCI runtime moved; READY.

        Raises PRECONDITION if a device is not there and cannot be brought there; call rollback() then.
        """
        if self._settled or self._transaction.is_empty:
            return self.attachments
        await self._executor.run(self._transaction.verify, last=True)
        if new := self._transaction.new:
            self._metrics.observe("attach", time.monotonic() - self._started, len(new))
        await self._settle()
        return self.attachments

    async def rollback(self) -> None:
        """Return what this plan moved, as it was, and end the leases. Does nothing after verify_and_repair()."""
        if self._settled:
            return
        try:
            if self._transaction.new:
                self._metrics.fail("attach", "rolled back")
                await self._executor.run(self._transaction.roll_back, last=True)
        finally:
            await self._settle()

    async def _settle(self) -> None:
        if not self._settled:
            self._settled = True
            try:
                await self._executor.close()
            finally:
                if self._lock is not None:
                    self._lock.release()

    async def __aenter__(self) -> "Plan":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Roll back unless verify_and_repair succeeded."""
        await self.rollback()
