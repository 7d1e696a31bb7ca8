"""Port forwarding (blocking): over SPDY, through SPDY in a WebSocket, and by the older WebSocket form."""

import contextlib

from crishim.cri.stream.portforward.protocol import PROTOCOL
from tests.support.streams.spdy import DirectTransport, SpdyStreams, TunnelTransport
from tests.support.streams.websocket import WebSocket


def forward_over_spdy(
    url: str, port: int, data: list[bytes], transport: type[DirectTransport] | type[TunnelTransport] = DirectTransport
) -> list[bytes]:
    """Send each of data on a connection of its own to a port, all over one session; the answers."""
    streams = SpdyStreams(transport(url, PROTOCOL))
    with contextlib.closing(streams):
        opened = [_connection(streams, {"port": str(port), "requestid": str(n)}, body) for n, body in enumerate(data)]
        streams.until(lambda: {stream for pair in opened for stream in pair} <= streams.ended)
    assert not any(streams.received[error] for error, _ in opened), streams.received
    return [streams.received[answer] for _, answer in opened]


def _connection(streams: SpdyStreams, headers: dict[str, str], body: bytes) -> tuple[int, int]:
    """The streams of errors and of data of one forwarded connection, all of body sent."""
    error = streams.open(streamtype="error", **headers)
    streams.send(error, b"", fin=True)
    answer = streams.open(streamtype="data", **headers)
    streams.send(answer, body, fin=True)
    return error, answer


def forward_over_websocket(url: str, data: bytes) -> bytes:
    """Send data to the one port that the URL names, and read until the connection ends: v4, two channels a port."""
    answer = b""
    opened = {0: 2, 1: 2}  # each channel first names its port
    with contextlib.closing(WebSocket(url, "v4.channel.k8s.io")) as socket:
        socket.send(b"\0" + data)
        while message := socket.receive():
            channel, body = message[0], message[1:]
            skip = min(opened[channel], len(body))
            opened[channel] -= skip
            body = body[skip:]
            assert channel == 0 or not body, body
            answer += body
    return answer
