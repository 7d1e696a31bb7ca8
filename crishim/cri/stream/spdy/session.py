"""One end of a SPDY/3.1 session: bytes and calls in, events and bytes out. SPDY draft 3.1, section 2.

    session = SpdySession(Role.SERVER)
    for event in session.receive_data(received): ...
    session.reply(event.stream); session.send_data(event.stream, b"...", fin=True)
    transport.write(session.data_to_send())

The work for a frame does not depend on the number of open streams: the peer decides which frames it sends.

Life cycle of a stream: open in both directions from SYN_STREAM on; each direction ends with its FIN, both with a
RST_STREAM; a stream without an open direction is forgotten. Frames for forgotten streams may still arrive and are
ignored.

Flow control, as Kubernetes needs it. The draft gives each stream and the session a window of 64 KiB in each direction.
Kubernetes' library (spdystream: kubelet, kubectl, crictl) neither sends WINDOW_UPDATE nor obeys it, so a sender that
obeyed the window would stall after 64 KiB. With FlowControl.LEARNED, windows limit what we send only after the peer has
sent a WINDOW_UPDATE or an initial window in SETTINGS, and a peer that overruns our window is not reset. WINDOW_UPDATEs
are always sent: a peer without flow control ignores them, one with it would wait for them.
"""

from crishim.cri.stream.spdy.events import (
    SESSION,
    DataReceived,
    Event,
    GoneAway,
    HeadersReceived,
    PingAnswered,
    SessionFailed,
    StreamEnded,
    StreamOpened,
    StreamReplied,
    StreamReset,
    WindowOpened,
    WindowsChanged,
)
from crishim.cri.stream.spdy.frames import (
    SETTING_INITIAL_WINDOW,
    BadSpdyFrame,
    Data,
    Frame,
    GoAway,
    GoAwayStatus,
    HeadersFrame,
    Ping,
    ResetStatus,
    RstStream,
    Settings,
    SpdyFrameReader,
    SynReply,
    SynStream,
    Unknown,
    WindowUpdate,
)
from crishim.cri.stream.spdy.headers import BadHeaderBlock
from crishim.cri.stream.spdy.outgoing import LocalError as LocalError
from crishim.cri.stream.spdy.outgoing import Outgoing
from crishim.cri.stream.spdy.state import MAX_WINDOW, FlowControl, Role, StreamState, Windows

MAX_WINDOW_CHANGES = 16  # times a peer may change its initial window: each wakes all waiting writers


class _SessionError(Exception):
    """A protocol error of the peer that ends the whole session."""


class SpdySession(Outgoing):
    """One end. max_streams: how many the peer may have open at once; more are refused."""

    def __init__(self, role: Role, *, flow_control: FlowControl = FlowControl.STRICT, max_streams: int = 1024) -> None:
        super().__init__(role, flow_control)
        self._strict = flow_control is FlowControl.STRICT
        self._max_streams = max_streams
        self._window_changes = 0
        self._reader = SpdyFrameReader()

    def receive_data(self, data: bytes) -> list[Event]:
        """The events in the peer's bytes, in order. After SessionFailed the rest is ignored."""
        self.feed(data)
        events: list[Event] = []
        while (found := self.next_events()) is not None:
            events += found
        return events

    def feed(self, data: bytes) -> None:
        """Take the peer's bytes, for next_events()."""
        if not self.failed:
            self._reader.receive_data(data)

    def next_events(self) -> list[Event] | None:
        """The events of the next frame; None if more bytes are needed. Lets the caller pause between frames."""
        if self.failed:
            return None
        try:
            frame = self._reader.next_frame()
            return None if frame is None else self._receive(frame)
        except (BadSpdyFrame, BadHeaderBlock, _SessionError) as error:
            self._going_away = False
            self.go_away(GoAwayStatus.PROTOCOL_ERROR)
            self.failed = True
            self._streams.clear()
            return [SessionFailed(str(error))]

    def _receive(self, frame: Frame) -> list[Event]:
        match frame:
            case Data():
                return self._receive_bytes(frame)
            case SynStream():
                return self._receive_open(frame)
            case SynReply(stream, headers, fin):
                return self._receive_headers(StreamReplied(stream, headers), fin)
            case HeadersFrame(stream, headers, fin):
                return self._receive_headers(HeadersReceived(stream, headers), fin)
            case RstStream(stream, status):
                return [StreamReset(stream, status)] if self._forget(stream) else []
            case WindowUpdate(stream, delta):
                return self._receive_window(stream, delta)
            case Settings(values):
                return self._receive_settings(values)
            case Ping(number):
                return self._receive_ping(number)
            case GoAway(last, status):
                return [GoneAway(last, status)]
            case Unknown():
                return []

    def _receive_open(self, frame: SynStream) -> list[Event]:
        stream = frame.stream
        if stream % 2 == self.role.value or stream <= self._last_remote:
            raise _SessionError(f"stream id {stream} cannot be opened after {self._last_remote}")
        self._last_remote = stream
        if self._going_away or self._remote_open >= self._max_streams:
            self._send(RstStream(stream, ResetStatus.REFUSED_STREAM))
            return []
        self._remote_open += 1
        self._streams[stream] = StreamState(Windows(), sending=not frame.unidirectional, replied=frame.unidirectional)
        return [StreamOpened(stream, frame.headers), *(self._end_receiving(stream) if frame.fin else ())]

    def _receive_headers(self, event: StreamReplied | HeadersReceived, fin: bool) -> list[Event]:
        state = self._streams.get(event.stream)
        if state is None:
            return []
        if not state.receiving:
            return self._break(event.stream, ResetStatus.STREAM_ALREADY_CLOSED)
        return [event, *(self._end_receiving(event.stream) if fin else ())]

    def _receive_bytes(self, frame: Data) -> list[Event]:
        stream, size = frame.stream, len(frame.data)
        if not self._windows.take_in(size) and self._strict:
            raise _SessionError("the session's window was overrun")
        state = self._streams.get(stream)
        if state is None:
            self._give_back(SESSION, self._windows, size)
            if stream > max(self._last_remote, self._last_local):
                self._send(RstStream(stream, ResetStatus.INVALID_STREAM))
            return []
        if not state.receiving:
            self._give_back(SESSION, self._windows, size)
            return self._break(stream, ResetStatus.STREAM_ALREADY_CLOSED)
        if not state.windows.take_in(size) and self._strict:
            self._give_back(SESSION, self._windows, size)
            return self._break(stream, ResetStatus.FLOW_CONTROL_ERROR)
        events: list[Event] = [DataReceived(stream, frame.data)] if size else []
        return events + (self._end_receiving(stream) if frame.fin else [])

    def _receive_window(self, stream: int, delta: int) -> list[Event]:
        self._limited = True
        if stream == SESSION:
            if not self._windows.widen(delta):
                raise _SessionError(f"a window cannot grow by {delta}")
            return [WindowOpened(SESSION)]
        if stream not in self._streams:
            return []
        if self._streams[stream].windows.widen(delta, self._initial_send):
            return [WindowOpened(stream)]
        return self._break(stream, ResetStatus.FLOW_CONTROL_ERROR)

    def _receive_settings(self, values: dict[int, int]) -> list[Event]:
        initial = values.get(SETTING_INITIAL_WINDOW)
        if initial is None:
            return []
        if initial > MAX_WINDOW:
            raise _SessionError(f"an initial window of {initial}")
        self._limited = True
        if initial == self._initial_send:
            return []
        self._window_changes += 1
        if self._window_changes > MAX_WINDOW_CHANGES:
            raise _SessionError("the initial window was changed too often")
        self._initial_send = initial
        return [WindowsChanged()]

    def _receive_ping(self, number: int) -> list[Event]:
        if number % 2 != self.role.value:
            self._send(Ping(number))
            return []
        return [PingAnswered(number)]

    def _end_receiving(self, stream: int) -> list[Event]:
        state = self._streams[stream]
        state.receiving = False
        if not state.sending:
            self._forget(stream)
        return [StreamEnded(stream)]

    def _break(self, stream: int, status: ResetStatus) -> list[Event]:
        """A protocol error of the peer on one stream: reset it, and report that as if the peer had."""
        self.reset(stream, status)
        return [StreamReset(stream, status)]
