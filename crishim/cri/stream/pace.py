"""How much the streaming server does in one turn of the event loop, and who is next: clients choose how much they send.

A unit is about 10 us of work: a frame, or 8 KiB of data. A connection works through a slice of units and then asks for
the next one; a turn of the loop has room for so many slices, whoever finds none waits in line for a later turn. So the
loop comes round within milliseconds however many clients flood it, and a quiet client waits for one slice of each.
"""

import asyncio
from collections import deque

TURN = 256  # units of all connections together in one turn of the loop
SLICE = 32  # units one connection may use before it stands in line
DATA = 8192  # bytes that cost a unit


class Pace:
    """The units of the running loop's turns. One for the whole server."""

    def __init__(self) -> None:
        self._left = TURN
        self._line: deque[asyncio.Future[None]] = deque()
        self._armed = False

    async def slice(self) -> None:
        """Wait for SLICE units."""
        self._arm()
        if self._left >= SLICE and not self._line:
            self._left -= SLICE
            return
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        await turn

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            asyncio.get_running_loop().call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        self._armed = False
        self._left = TURN
        while self._line and self._left >= SLICE:
            turn = self._line.popleft()
            if not turn.done():  # cancelled otherwise
                turn.set_result(None)
                self._left -= SLICE
        if self._left < TURN:
            self._arm()


class Share:
    """One connection's units."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._left = 0

    async def spend(self, units: int = 1) -> None:
        """Before work of so many units: goes on at once, or when the connection's next slice has come."""
        self._left -= units
        while self._left < 0:
            await self._pace.slice()
            self._left += SLICE

    async def spend_on(self, data: bytes) -> None:
        """Before moving some bytes."""
        await self.spend(1 + len(data) // DATA)
