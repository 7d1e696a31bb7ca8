"""Which RPCs are answered while the daemon starts, by which function and of which node.

    at once               those of cri/status.py: the kubelet asks them first, and gives up within seconds
    records are read      questions: the records say what was when the last daemon ended, and recovery corrects them
    recovery is complete  everything else; whoever wants something changed waits for it, PATIENCE seconds at most

But where a record is in doubt (operations/recover.py, is_in_doubt) questions wait for recovery as well: a kubelet that
sees a container as created, which in truth runs, makes another in its place.

So a client that only asks hardly sees a restart, and one that acts while pods are recovered is late, not refused.
"""

import asyncio

from crishim.base_node import BaseNode
from crishim.cri import services, status
from crishim.cri.services import Rpcs, Streaming, Unary
from crishim.errors import CrishimError, Kind

PATIENCE = 10.0  # seconds
# A probe's time runs while it waits, and the kubelet would count it as failed; an error it throws away.
IMPATIENT = frozenset({"ExecSync"})
EARLY = services.collect([status])


class RpcGate:
    """Opened twice: for questions, then for all."""

    def __init__(self, node: BaseNode) -> None:
        self._node = node
        self._rpcs = EARLY
        self._in_doubt = False
        self._known = asyncio.Event()
        self._recovered = asyncio.Event()

    def open_for_questions(self, node: BaseNode, rpcs: Rpcs, *, in_doubt: bool = False) -> None:
        """The records are read. node: the whole one, for all calls from now on. rpcs: all there are.

        in_doubt: questions have to wait for recovery after all.
        """
        self._node = node
        self._rpcs = rpcs
        self._in_doubt = in_doubt
        self._known.set()

    def open(self) -> None:
        """Recovery is complete."""
        self._recovered.set()

    async def admit(self, rpc: str) -> tuple[BaseNode, Unary | Streaming]:
        """Wait until an RPC may be answered; the node and the function for it.

        UNAVAILABLE if that takes too long, UNIMPLEMENTED if there is no function.
        """
        if rpc not in EARLY:
            await self._known.wait()
            if not self._recovered.is_set() and rpc in self._rpcs and (self._in_doubt or not is_question(rpc)):
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


def is_question(rpc: str) -> bool:
    """Whether an RPC changes nothing, and is answered from records, memory and the kernel alone."""
    return rpc.startswith(("List", "Stream")) or rpc.endswith(("Status", "Stats")) or rpc in _OTHERS


_OTHERS = frozenset({"GetContainerEvents", "ImageFsInfo"})
