"""TCP connections from inside a network namespace. A socket belongs for life to the namespace it was made in."""

import asyncio


async def dial(netns: str, port: int, timeout: float = 10) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to `port` on the loopback (127.0.0.1, then ::1) of the namespace at path `netns` ("": the host's).

    UNAVAILABLE if nothing listens on either address, NOT_FOUND if the namespace is gone.
    """
    raise NotImplementedError
