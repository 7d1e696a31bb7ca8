"""The sending half of a SPDY/3.1 session (session.py): the calls that send frames, and the streams' state."""

from crishim.cri.stream.spdy.events import SESSION
from crishim.cri.stream.spdy.frames import (
    MAX_STREAM_ID,
    Data,
    Frame,
    FrameWriter,
    GoAway,
    GoAwayStatus,
    HeadersFrame,
    Ping,
    ResetStatus,
    RstStream,
    Settings,
    SynReply,
    SynStream,
    WindowUpdate,
)
from crishim.cri.stream.spdy.headers import Headers
from crishim.cri.stream.spdy.state import MAX_WINDOW, WINDOW, FlowControl, Role, StreamState, Windows


class LocalError(Exception):
    """The caller asked for something the session's state forbids."""


class Outgoing:
    """The streams of one end, and the frames it sends."""

    def __init__(self, role: Role, flow_control: FlowControl) -> None:
        self.role = role
        self.failed = False
        self._limited = flow_control is FlowControl.STRICT  # the peer's windows limit what we send
        self._streams: dict[int, StreamState] = {}
        self._remote_open = 0  # how many of them the peer opened
        self._windows = Windows(send=WINDOW)
        self._initial_send = WINDOW
        self._last_local = -1 if role is Role.CLIENT else 0
        self._last_remote = 0
        self._last_ping = -1 if role is Role.CLIENT else 0
        self._going_away = False
        self._writer = FrameWriter()
        self._out = bytearray()

    def data_to_send(self) -> bytes:
        """The bytes to write to the peer now, each once."""
        out = bytes(self._out)
        self._out.clear()
        return out

    @property
    def pending(self) -> int:
        """How many bytes wait for data_to_send()."""
        return len(self._out)

    def open_stream(self, headers: Headers, *, fin: bool = False) -> int:
        """Open a stream and return its id. The peer answers with StreamReplied or StreamReset."""
        if self._going_away or self._last_local + 2 > MAX_STREAM_ID:
            raise LocalError("no more streams can be opened in this session")
        self._last_local += 2
        self._streams[self._last_local] = StreamState(Windows(), sending=not fin, replied=True)
        self._send(SynStream(self._last_local, headers, fin))
        return self._last_local

    def reply(self, stream: int, headers: Headers | None = None, *, fin: bool = False) -> None:
        """Accept a stream the peer opened. Its opener may wait for this before it sends."""
        state = self._sending(stream)
        if state.replied:
            raise LocalError(f"stream {stream} was answered before")
        state.replied = True
        self._send(SynReply(stream, headers or {}, fin))
        if fin:
            self._end_sending(stream)

    def sendable(self, stream: int) -> int:
        """How many bytes may be sent on the stream now; 0 if it is not open for sending."""
        state = self._streams.get(stream)
        if state is None or not state.sending or self.failed:
            return 0
        if not self._limited:
            return MAX_WINDOW
        return max(0, min(self._initial_send + state.windows.send, self._windows.send))

    def held_by_session(self, stream: int) -> bool:
        """Whether only the session's window, not the stream's own, keeps data of the stream from being sent."""
        state = self._streams.get(stream)
        closed = self._limited and self._windows.send <= 0
        return state is not None and closed and self._initial_send + state.windows.send > 0

    def send_data(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Send bytes, at most sendable() of them; with fin they are the last."""
        state = self._sending(stream)
        if not state.replied:
            raise LocalError(f"stream {stream} must be answered first")
        if len(data) > self.sendable(stream):
            raise LocalError(f"{len(data)} bytes on stream {stream} go beyond the peer's window")
        for windows in (state.windows, self._windows):
            windows.send -= len(data)
        self._send(Data(stream, data, fin))
        if fin:
            self._end_sending(stream)

    def send_headers(self, stream: int, headers: Headers, *, fin: bool = False) -> None:
        self._sending(stream)
        self._send(HeadersFrame(stream, headers, fin))
        if fin:
            self._end_sending(stream)

    def reset(self, stream: int, status: ResetStatus = ResetStatus.CANCEL) -> None:
        """End both directions of a stream at once. Nothing happens if it is gone already."""
        if self._forget(stream):
            self._send(RstStream(stream, status))

    def consumed(self, stream: int, size: int) -> None:
        """Bytes of DataReceived were used: the peer may send as many again. The stream may be gone by now."""
        state = self._streams.get(stream)
        if state is not None and state.receiving:
            self._give_back(stream, state.windows, size)
        self._give_back(SESSION, self._windows, size)

    def ping(self) -> int:
        """Send a PING; its answer is PingAnswered with this number."""
        self._last_ping += 2
        self._send(Ping(self._last_ping))
        return self._last_ping

    def keep_alive(self) -> None:
        """Send a frame that changes nothing and asks for no answer: SETTINGS without a setting.

        A peer that is gone answers it with a TCP reset, also while nothing is read from it. A PING would not do: a
        spdystream peer whose own writing is stalled loses one of its five workers to each PING it must answer.
        """
        self._send(Settings({}))

    def go_away(self, status: GoAwayStatus = GoAwayStatus.OK) -> None:
        """Send GOAWAY: no more streams are accepted; open ones continue."""
        if not self._going_away:
            self._going_away = True
            self._send(GoAway(self._last_remote, status))

    def is_open(self, stream: int) -> bool:
        """Whether either direction is open."""
        return stream in self._streams

    def is_sending(self, stream: int) -> bool:
        """Whether we may still send on the stream, now or when its window opens."""
        return stream in self._streams and self._streams[stream].sending

    def _send(self, frame: Frame) -> None:
        if not self.failed:
            self._out += self._writer.write(frame)

    def _sending(self, stream: int) -> StreamState:
        state = self._streams.get(stream)
        if state is None or not state.sending:
            raise LocalError(f"stream {stream} is not open for sending")
        return state

    def _end_sending(self, stream: int) -> None:
        state = self._streams[stream]
        state.sending = False
        if not state.receiving:
            self._forget(stream)

    def _forget(self, stream: int) -> bool:
        """Remove a stream; returns False if it was not known."""
        if self._streams.pop(stream, None) is None:
            return False
        self._remote_open -= stream % 2 != self.role.value
        return True

    def _give_back(self, stream: int, windows: Windows, size: int) -> None:
        """Count used bytes; send a WINDOW_UPDATE for them once they are half a window."""
        returned = windows.use_up(size)
        if returned:
            self._send(WindowUpdate(stream, returned))
