"""One end of a SPDY/3.1 session: bytes and calls in, events and bytes out. SPDY draft 3.1, section 2.

    session = Session(Role.SERVER)
    for event in session.receive_data(received): ...
    session.reply(event.stream); session.send_data(event.stream, b"...", fin=True)
    transport.write(session.data_to_send())

Lives of a stream: open in both directions from SYN_STREAM on; each direction ends with its FIN, both with a RST_STREAM;
a stream without an open direction is forgotten. Frames for forgotten streams are on their way for a while and mean
nothing.

Flow control, and an ugliness. The draft gives each stream and the session a window of 64 KiB in each direction.
Kubernetes' library (spdystream: kubelet, kubectl, crictl) neither sends WINDOW_UPDATE nor heeds it, so a sender that
kept to the window would stall after 64 KiB. With FlowControl.LEARNED, what we send is limited only from the moment the
peer shows, by a WINDOW_UPDATE or a SETTINGS frame, that it keeps windows, and a peer that overruns ours is not blamed.
WINDOW_UPDATEs are always sent: a peer without windows ignores them, one with them would wait for them.
"""

from crishim.wire.spdy_events import (
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
)
from crishim.wire.spdy_frames import (
    MAX_STREAM_ID,
    SETTING_INITIAL_WINDOW,
    BadFrame,
    Data,
    Frame,
    FrameReader,
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
from crishim.wire.spdy_headers import BadHeaderBlock, Headers
from crishim.wire.spdy_state import MAX_WINDOW, WINDOW, FlowControl, Role, StreamState, Windows


class LocalError(Exception):
    """The caller asked for something the session's state forbids."""


class _SessionError(Exception):
    """The peer broke a rule that concerns the whole session."""


class Session:
    """One end. max_streams: how many the peer may have open at once; more are refused."""

    def __init__(self, role: Role, *, flow_control: FlowControl = FlowControl.STRICT, max_streams: int = 1024) -> None:
        self.role = role
        self.failed = False
        self._limited = flow_control is FlowControl.STRICT  # what we send is held to the peer's windows
        self._strict = self._limited
        self._max_streams = max_streams
        self._streams: dict[int, StreamState] = {}
        self._windows = Windows(send=WINDOW)
        self._initial_send = WINDOW
        self._last_local = -1 if role is Role.CLIENT else 0
        self._last_remote = 0
        self._last_ping = -1 if role is Role.CLIENT else 0
        self._going_away = False
        self._reader = FrameReader()
        self._writer = FrameWriter()
        self._out = bytearray()

    # what goes out

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
        self._streams[self._last_local] = StreamState(Windows(send=self._initial_send), sending=not fin, replied=True)
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
        return max(0, min(state.windows.send, self._windows.send))

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
        if self._streams.pop(stream, None) is not None:
            self._send(RstStream(stream, status))

    def consumed(self, stream: int, size: int) -> None:
        """Bytes of DataReceived were used up: the peer may send as many again. The stream may be gone by now."""
        state = self._streams.get(stream)
        if state is not None and state.receiving:
            self._give_back(stream, state.windows, size)
        self._give_back(SESSION, self._windows, size)

    def ping(self) -> int:
        """Ask the peer for a sign of life: PingAnswered with this number."""
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
        """Say that no more streams are taken. Those that are open go on."""
        if not self._going_away:
            self._going_away = True
            self._send(GoAway(self._last_remote, status))

    def is_open(self, stream: int) -> bool:
        """Whether either direction is open."""
        return stream in self._streams

    def is_sending(self, stream: int) -> bool:
        """Whether we may still send on the stream, now or when its window opens."""
        return stream in self._streams and self._streams[stream].sending

    # what comes in

    def receive_data(self, data: bytes) -> list[Event]:
        """What the peer's bytes mean, in order. After SessionFailed the rest is ignored."""
        events: list[Event] = []
        if self.failed:
            return events
        self._reader.receive_data(data)
        try:
            while (frame := self._reader.next_frame()) is not None:
                events += self._receive(frame)
        except (BadFrame, BadHeaderBlock, _SessionError) as error:
            self._going_away = False
            self.go_away(GoAwayStatus.PROTOCOL_ERROR)
            self.failed = True
            self._streams.clear()
            events.append(SessionFailed(str(error)))
        return events

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
                return [StreamReset(stream, status)] if self._streams.pop(stream, None) else []
            case WindowUpdate(stream, delta):
                return self._receive_window(stream, delta)
            case Settings(values):
                return self._receive_settings(values)
            case Ping(number):
                return self._receive_ping(number)
            case GoAway(last, status):
                return [GoneAway(last, status)]

    def _receive_open(self, frame: SynStream) -> list[Event]:
        stream = frame.stream
        if stream % 2 == self.role.value or stream <= self._last_remote:
            raise _SessionError(f"stream id {stream} cannot be opened after {self._last_remote}")
        self._last_remote = stream
        open_now = sum(1 for known in self._streams if known % 2 != self.role.value)
        if self._going_away or open_now >= self._max_streams:
            self._send(RstStream(stream, ResetStatus.REFUSED_STREAM))
            return []
        windows = Windows(send=self._initial_send)
        self._streams[stream] = StreamState(windows, sending=not frame.unidirectional, replied=frame.unidirectional)
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
            windows = self._windows
        elif stream in self._streams:
            windows = self._streams[stream].windows
        else:
            return []
        if windows.widen(delta):
            return [WindowOpened(stream)]
        if stream == SESSION:
            raise _SessionError(f"a window cannot grow by {delta}")
        return self._break(stream, ResetStatus.FLOW_CONTROL_ERROR)

    def _receive_settings(self, values: dict[int, int]) -> list[Event]:
        initial = values.get(SETTING_INITIAL_WINDOW)
        if initial is None:
            return []
        if initial > MAX_WINDOW:
            raise _SessionError(f"an initial window of {initial}")
        self._limited = True
        for state in self._streams.values():
            state.windows.send += initial - self._initial_send
        self._initial_send = initial
        return [WindowOpened(SESSION)]

    def _receive_ping(self, number: int) -> list[Event]:
        if number % 2 != self.role.value:
            self._send(Ping(number))
            return []
        return [PingAnswered(number)]

    # shared

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
            del self._streams[stream]

    def _end_receiving(self, stream: int) -> list[Event]:
        state = self._streams[stream]
        state.receiving = False
        if not state.sending:
            del self._streams[stream]
        return [StreamEnded(stream)]

    def _break(self, stream: int, status: ResetStatus) -> list[Event]:
        """The peer broke a rule of one stream: reset it, and tell the caller as if the peer had."""
        self.reset(stream, status)
        return [StreamReset(stream, status)]

    def _give_back(self, stream: int, windows: Windows, size: int) -> None:
        """Used-up bytes go back to the peer in one WINDOW_UPDATE when they are half a window."""
        returned = windows.use_up(size)
        if returned:
            self._send(WindowUpdate(stream, returned))
