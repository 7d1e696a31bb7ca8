"""What a service manager is told: sd_notify(3) states, and signs of life if it asks for them (its watchdog)."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping


def notify(state: str) -> None:
    """Tell the service manager; nothing without one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


def watchdog_interval(environment: Mapping[str, str]) -> float:
    """Seconds between two signs of life, half of what the manager waits; 0 if it wants none of this process."""
    microseconds, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or (pid and pid != str(os.getpid())):
        return 0
    return int(microseconds) / 2e6


async def show_life() -> None:
    """Send signs of life from the event loop, for as long as it turns; ends at once if nobody wants them."""
    interval = watchdog_interval(os.environ)
    while interval:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval)
