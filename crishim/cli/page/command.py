"""`crishim page`: serves the node page until Ctrl-C, on loopback or on a Unix socket."""

import asyncio
import contextlib
import ipaddress
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from crishim.cli.client import fail
from crishim.cli.page.calls import connected
from crishim.cli.page.observer import Observer
from crishim.cli.page.server import MOST_PENDING, PageServer
from crishim.config import Config
from crishim.cri.stream.fair_scheduler import Budget, FairScheduler
from crishim.cri.stream.listener import Listener
from crishim.linux import unix_listener


def serve(config: Config, listen: str, unix: Path | None) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status. listen: loopback HOST:PORT. unix: a socket instead."""
    try:
        host, port = ("", 0) if unix else parse_address(listen)
    except ValueError as error:
        return fail(str(error))
    try:
        asyncio.run(_serve(config, host, port, unix))
    except OSError as error:
        return fail(f"cannot listen at {unix or listen}: {error.strerror or error}")
    return 0


def parse_address(listen: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT", ":PORT" or "PORT". Raises ValueError if the host is not localhost or loopback."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 0xFFFF:
        raise ValueError(f"--listen {listen}: HOST:PORT is wanted, with a port up to 65535")
    address = "127.0.0.1" if host == "localhost" else host
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address).is_loopback:
            return address, int(port)
    raise ValueError(f"--listen {listen}: only addresses of loopback: whoever reads the page sees the whole node")


async def _serve(config: Config, host: str, port: int, unix: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    secret = "" if unix else secrets.token_urlsafe(32)
    async with connected(config.socket) as calls:
        observer = Observer(calls)
        async with _listening(PageServer(observer, secret, socket.gethostname()), host, port, unix) as where:
            sys.stdout.write(f"{where}/{secret}/\n" if secret else f"{where}\n")
            sys.stdout.flush()
            following = asyncio.create_task(observer.run())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([following, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in (following, stopping):
                task.cancel()
            await asyncio.wait([following, stopping])
            if not following.cancelled():
                following.result()  # raises its error


@contextlib.asynccontextmanager
async def _listening(server: PageServer, host: str, port: int, unix: Path | None) -> AsyncIterator[str]:
    """Listen; yields the URL's beginning, or the socket's path. Raises OSError."""
    listener = Listener(server, MOST_PENDING, Budget(FairScheduler()), None)
    mine = (0, 0)
    if unix:
        listener.start_on(unix_listener.listen(unix, "page"))
        mine = unix_listener.inode(unix)
        where = f"unix:{unix}"
    else:
        address, port = await listener.start(host, port)
        where = f"http://{f'[{address}]' if ':' in address else address}:{port}"
    try:
        yield where
    finally:
        await listener.stop()
        if unix:
            with contextlib.suppress(OSError):
                if unix_listener.inode(unix) == mine:
                    unix.unlink()
