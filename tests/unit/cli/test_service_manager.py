"""Signs of life: when they are wanted, how often, and that they come."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from crishim.cli import service_manager


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "60000000"}, 30),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, 0),  # another process is watched
        ({"WATCHDOG_USEC": "often"}, 0),
    ],
)
def test_the_interval_is_half_of_what_the_manager_waits(environment: dict[str, str], interval: float) -> None:
    """sd_watchdog_enabled(3)."""
    assert service_manager.watchdog_interval(environment) == interval


async def test_life_is_shown_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WATCHDOG=1 (sd_notify(3)), more than once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "20000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        life = asyncio.create_task(service_manager.send_watchdog())
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            said = [await loop.sock_recv(manager, 100) for _ in range(3)]
        life.cancel()
    assert said == [b"WATCHDOG=1"] * 3


async def test_nobody_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a watchdog it ends at once."""
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    async with asyncio.timeout(20):
        await service_manager.send_watchdog()
