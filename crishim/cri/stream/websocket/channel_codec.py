"""Numbered channels over WebSocket messages: channel.k8s.io and its relatives.

Source: k8s.io/streaming/pkg/httpstream/wsstream. A message is a channel number and data:

    binary form   one byte and the data, in a binary message
    base64 form   an ASCII digit and the data in base64, in a text message
    version 5     the binary form, and the two bytes 255, N close channel N

A client may send either kind of message for either form. Messages may come in fragments: the data of a fragment is
passed on at once, so no message is buffered whole.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import NamedTuple

from crishim.cri.stream.remotecommand.protocol import V1, V4, V5

BASE64_V1, BASE64_V4 = "base64.channel.k8s.io", "v4.base64.channel.k8s.io"

REMOTE_COMMAND = (V5, V4, BASE64_V4, V1, BASE64_V1)  # subprotocols; a client that names none gets V1's form
PORT_FORWARD = (V4, BASE64_V4)

CLOSE = 255


class ChannelData(NamedTuple):
    channel: int
    data: bytes


class ChannelClosed(NamedTuple):
    channel: int


class BadChannelMessage(ValueError):
    """A message that breaks the channel protocol; the session cannot go on."""


def select(offered: Sequence[str], supported: Sequence[str]) -> str | None:
    """The client's first subprotocol that is supported; "" if it offers none; None if none of them is supported."""
    if not offered:
        return ""
    return next((name for name in offered if name in supported), None)


class ChannelCodec:
    """Messages of one connection, both ways."""

    def __init__(self, subprotocol: str) -> None:
        self.text = "base64" in subprotocol  # the kind of message we send
        self._closes = subprotocol == V5
        self._channel = -1  # of the current message
        self._carry = b""  # base64 digits that wait for the rest of their group of four

    def encode(self, channel: int, data: bytes) -> bytes:
        """The payload of one message, of a text message if self.text is set."""
        if self.text:
            return b"%d" % channel + base64.b64encode(data)
        return bytes([channel]) + data

    def receive(self, payload: bytes, *, first: bool, last: bool) -> list[ChannelData | ChannelClosed]:
        """Decode one fragment of a message. An empty message gives nothing. Raises BadChannelMessage."""
        if first:
            self._carry = b""
            self._channel = -1
        if self._channel < 0:
            if not payload:
                return []
            self._channel, payload = payload[0] - (ord("0") if self.text else 0), payload[1:]
        if self._closes and self._channel == CLOSE:
            return self._receive_close(payload, last)
        data = self._from_base64(payload, last) if self.text else payload
        return [ChannelData(self._channel, data)] if data else []

    def _receive_close(self, payload: bytes, last: bool) -> list[ChannelData | ChannelClosed]:
        self._carry += payload
        if len(self._carry) > 1 or (last and not self._carry):
            raise BadChannelMessage("a close signal is for one channel")
        return [ChannelClosed(self._carry[0])] if last else []

    def _from_base64(self, payload: bytes, last: bool) -> bytes:
        digits = self._carry + payload
        whole = len(digits) if last else len(digits) // 4 * 4
        self._carry = digits[whole:]
        try:
            return base64.b64decode(digits[:whole], validate=True)
        except binascii.Error as error:
            raise BadChannelMessage(f"a message that is not base64: {error}") from error
