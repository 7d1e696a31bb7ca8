"""Which RPCs are answered while the daemon starts, by which function and with which node.

    at once               those of cri/status.py: the kubelet calls them first, and gives up within seconds
    records are read      read-only RPCs: the records hold the state at the last daemon's end, recovery corrects it
    recovery is complete  all others; a call that changes something waits for it, PATIENCE seconds at most

If a record is in doubt (operations/recover.py, is_in_doubt), read-only RPCs wait for recovery as well: a kubelet that
sees a running container as created makes another in its place.

So a restart hardly delays a client that only reads, and one that changes something waits instead of being refused.
"""

import asyncio

from crishim.base_node import BaseNode
from crishim.cri import services, status
from crishim.cri.services import Rpcs, Streaming, Unary
from crishim.errors import CrishimError, Kind

PATIENCE = 10.0  # seconds
# A probe that waits may time out, which the kubelet counts as a failure; an error of the runtime it ignores.
IMPATIENT = frozenset({"ExecSync"})
EARLY = services.collect([status])


class RpcGate:
    """Opened in two steps: for read-only RPCs, then for all."""

    def __init__(self, node: BaseNode) -> None:
        self._node = node
        self._rpcs = EARLY
        self._in_doubt = False
        self._known = asyncio.Event()
        self._recovered = asyncio.Event()

    def open_for_reads(self, node: BaseNode, rpcs: Rpcs, *, in_doubt: bool = False) -> None:
        """The records are read. node: the complete Node, used by all calls from now on. rpcs: all RPCs.

        in_doubt: read-only RPCs wait for recovery as well.
        """
        self._node = node
        self._rpcs = rpcs
        self._in_doubt = in_doubt
        self._known.set()

    def open(self) -> None:
        """Recovery is complete."""
        self._recovered.set()

    async def admit(self, rpc: str) -> tuple[BaseNode, Unary | Streaming]:
        """Wait until an RPC may be answered, and return the node and function for it.

        Raises UNAVAILABLE if that takes too long, UNIMPLEMENTED if there is no function.
        """
        if rpc not in EARLY:
            await self._known.wait()
            if not self._recovered.is_set() and rpc in self._rpcs and (self._in_doubt or not is_read_only(rpc)):
                await self._recovery(0 if rpc in IMPATIENT else PATIENCE)
        if rpc not in self._rpcs:
            raise CrishimError(Kind.UNIMPLEMENTED, f"{rpc} is not implemented")
        return self._node, self._rpcs[rpc]

    async def _recovery(self, patience: float) -> None:
        try:
            async with asyncio.timeout(patience):
                await self._recovered.wait()
        except TimeoutError:
            raise CrishimError(Kind.UNAVAILABLE, "crishim is starting: recovery is not complete yet") from None


def is_read_only(rpc: str) -> bool:
    """Whether an RPC is read-only, and answered from records, memory and the kernel alone."""
    return rpc.startswith(("List", "Stream")) or rpc.endswith(("Status", "Stats")) or rpc in _READ_ONLY


_READ_ONLY = frozenset({"GetContainerEvents", "ImageFsInfo"})  # that their names do not show
