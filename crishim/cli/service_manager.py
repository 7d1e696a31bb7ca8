"""Notify the service manager: sd_notify(3) states, and its watchdog if enabled (sd_watchdog_enabled(3))."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping


def notify(state: str) -> None:
    """Send a state to the service manager, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


def watchdog_interval(environment: Mapping[str, str]) -> float:
    """Seconds between two watchdog notifications, half of the watchdog's timeout; 0 if it is not enabled."""
    microseconds, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or (pid and pid != str(os.getpid())):
        return 0
    return int(microseconds) / 2e6


async def send_watchdog() -> None:
    """Send watchdog notifications from the event loop; returns at once if the watchdog is not enabled."""
    interval = watchdog_interval(os.environ)
    while interval:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval)
