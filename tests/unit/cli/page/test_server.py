"""The page over real connections: readers, and those who mean it no good."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from crishim.cli.page import observer as page_observer
from crishim.cli.page import server as page_server
from crishim.cli.page.calls import DaemonError
from crishim.cli.page.observer import Observer
from crishim.cli.page.server import MOST_FOLLOWERS, MOST_PENDING, PageServer
from crishim.cri.stream.fair_scheduler import Budget, FairScheduler
from crishim.cri.stream.listener import Listener
from crishim.pb import cri_pb2 as cri
from tests.support.eventually import eventually
from tests.unit.cli.page.samples import NOON, POD, answers, change, net_device, sandbox
from tests.unit.cli.page.told import Told

SECRET = "s-3-c"
Answer = tuple[int, str, str]  # status, head, body


class Served(NamedTuple):
    port: int
    told: Told
    server: PageServer
    listener: Listener

    async def ask(self, path: str = f"/{SECRET}/", *, method: str = "GET", host: str = "localhost") -> Answer:
        return await self.raw(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    async def raw(self, sent: bytes) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent)
        async with asyncio.timeout(20):
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        return int(head.split(" ")[1]), head, body

    async def follow(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A stream of events, its head read."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        writer.write(f"GET /{SECRET}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        async with asyncio.timeout(20):
            assert b"text/event-stream" in await reader.readuntil(b"\r\n\r\n")
        return reader, writer


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    told = Told()
    observer = Observer(told)  # type: ignore[arg-type]
    server = PageServer(observer, SECRET, "node-1")
    listener = Listener(server, MOST_PENDING, Budget(FairScheduler()), None)
    _, port = await listener.start("127.0.0.1", 0)
    observing = asyncio.create_task(observer.run())
    yield Served(port, told, server, listener)
    observing.cancel()
    await asyncio.wait([observing])
    await listener.stop()
    assert server.counts() == (0, 0)


async def next_part(reader: asyncio.StreamReader, name: str, holds: str) -> str:
    """The first event of a part that holds a text."""
    async with asyncio.timeout(20):
        while True:
            line = (await reader.readuntil(b"\n")).decode()
            if line.startswith("data: "):
                told = json.loads(line.removeprefix("data: "))
                if told["name"] == name and holds in told["html"]:
                    return str(told["html"])


async def test_what_is_served(served: Served) -> None:
    """The page and its files; HEAD without the body; a start as a picture and as text; nothing else."""
    status, head, body = await served.ask()
    assert (status, body.startswith("<!DOCTYPE html>"), "node-1" in body) == (200, True, True)
    assert "x/x" in body
    assert (await served.ask(method="HEAD"))[1:] == (head, "")
    for name, kind in (("page.css", "text/css"), ("page.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        status, head, body = await served.ask(f"/{SECRET}/{name}")
        assert (status, kind in head, bool(body)) == (200, True, True)
    status, head, body = await served.ask(f"/{SECRET}/starts/{POD}.svg?calls=1")
    assert (status, body.startswith("<svg "), "style-src 'unsafe-inline'" in head) == (200, True, True)
    assert "RunPodSandbox" in (await served.ask(f"/{SECRET}/starts/{POD}.txt"))[2]
    assert (await served.ask(f"/{SECRET}/starts/{'d' * 64}.txt"))[0] == 404


async def test_what_is_refused(served: Served) -> None:
    """Without the secret, of another host, another method; and what is no HTTP. A page of another site gets nothing."""
    assert (await served.ask("/"))[0] == 404
    assert (await served.ask("/../../etc/passwd"))[0] == 404
    assert (await served.ask(host="evil.example"))[0] == 403
    assert (await served.ask(method="POST"))[0] == 405
    assert (await served.raw(b"hello\r\n\r\n"))[0] == 400
    assert (await served.raw(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 10_000))[0] == 400
    assert (await served.raw(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"))[0] == 400


async def test_half_requests_keep_nobody_out(served: Served) -> None:
    """Slow clients without the secret (slowloris), more than there is room for: the oldest gives way to a reader."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(4 * MOST_PENDING):
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            stack.callback(writer.close)
            writer.write(b"GET / HTTP/1.1\r\nHost: local")
            await writer.drain()
        assert (await served.ask())[0] == 200
        assert len(served.listener.pending) <= MOST_PENDING


async def test_a_silent_client_is_let_go(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_server, "HEAD_TIMEOUT", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    async with asyncio.timeout(20):
        assert await reader.read() == b""
    writer.close()
    await eventually(lambda: not served.listener.pending)


async def test_changes_are_told(served: Served) -> None:
    """All parts at first, then what has changed: an event of a pod, a device's way, the daemon's end and its return."""
    reader, writer = await served.follow()
    await next_part(reader, "pods", "x/x")
    served.told.answers = answers()._replace(pods=[sandbox(POD, "web")])
    served.told.streams["GetContainerEvents"].put_nowait(
        cri.ContainerEventResponse(container_id=POD, container_event_type=cri.CONTAINER_STOPPED_EVENT, created_at=NOON)
    )
    await next_part(reader, "pods", "web/web")
    await next_part(reader, "events", "stopped")
    served.told.answers = served.told.answers._replace(devices=[net_device(state="returning")])
    served.told.streams["StreamNetDeviceChanges"].put_nowait(change("returning", NOON))
    await next_part(reader, "devices", "returning <small>12:00:00")
    served.told.silence = "Status: nobody is there"
    await next_part(reader, "state", "nobody is there")
    served.told.silence = ""
    await next_part(reader, "state", "RuntimeReady is false")
    writer.close()
    await eventually(lambda: served.server.counts() == (0, 0))


async def test_an_older_daemon_tells_less(served: Served) -> None:
    """Without the stream of devices all else goes on."""
    served.told.streams["StreamNetDeviceChanges"].put_nowait(DaemonError("unimplemented", missing=True))
    reader, writer = await served.follow()
    await next_part(reader, "devices", "ready")
    writer.close()


async def test_nobody_looks(served: Served) -> None:
    """The daemon is asked nothing; an event is noted, and shown to the next reader."""
    served.told.streams["GetContainerEvents"].put_nowait(
        cri.ContainerEventResponse(container_id=POD, container_event_type=cri.CONTAINER_STOPPED_EVENT, created_at=NOON)
    )
    await eventually(lambda: served.told.streams["GetContainerEvents"].empty())
    assert served.told.asked == []
    assert "stopped" in (await served.ask())[2]


async def test_many_readers_are_one_look(served: Served) -> None:
    """Reloading without an end costs the daemon little."""
    await asyncio.gather(*(served.ask() for _ in range(20)))
    assert served.told.asked.count("ListPodSandbox") < 10


async def test_followers_are_bounded(served: Served) -> None:
    """The one too many is told so, the page itself is there, and there is room again when one has gone."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(MOST_FOLLOWERS):
            _, writer = await served.follow()
            stack.callback(writer.close)
        assert (await served.ask(f"/{SECRET}/events"))[0] == 503
        assert (await served.ask())[0] == 200
    await eventually(lambda: served.server.counts() == (0, 0))
    _, writer = await served.follow()
    writer.close()


async def test_a_follower_that_never_reads(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is let go, its changes are not kept for it, and another follower hears of every one."""
    monkeypatch.setattr(page_server, "WRITE_TIMEOUT", 0.3)
    monkeypatch.setattr(page_observer, "PAUSE", 0.01)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, ("127.0.0.1", served.port))
        await loop.sock_sendall(deaf, f"GET /{SECRET}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        reader, writer = await served.follow()
        await eventually(lambda: served.server.counts() == (2, 2))
        for number in range(400):
            served.told.answers = _many(f"n{number}-")
            served.told.streams["StreamNetDeviceChanges"].put_nowait(change("ready", number))
            await next_part(reader, "pods", f"n{number}-0/")
            if served.server.counts() == (1, 1):
                break
        assert served.server.counts() == (1, 1)
        writer.close()


def _many(prefix: str) -> Any:
    pods = [sandbox(f"{number:064x}", f"{prefix}{number}") for number in range(100)]
    return answers()._replace(pods=pods, details={p.id: cri.PodSandboxStatusResponse() for p in pods})
