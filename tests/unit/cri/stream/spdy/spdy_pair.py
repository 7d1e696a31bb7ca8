"""A SPDY client and a server joined, for tests that exercise both ends."""

from crishim.cri.stream.spdy.events import Event
from crishim.cri.stream.spdy.session import SpdySession
from crishim.cri.stream.spdy.state import FlowControl, Role


class Pair:
    """A client and a server whose bytes reach each other when told to, in pieces of `step` bytes."""

    def __init__(self, flow_control: FlowControl = FlowControl.STRICT, step: int = 1 << 20, **server: int) -> None:
        self.client = SpdySession(Role.CLIENT, flow_control=flow_control)
        self.server = SpdySession(Role.SERVER, flow_control=flow_control, **server)
        self.step = step

    def carry(self) -> tuple[list[Event], list[Event]]:
        """Everything on its way arrives, answers included: the client's and the server's events."""
        seen: tuple[list[Event], list[Event]] = [], []
        while (to_server := self.client.data_to_send()) + (to_client := self.server.data_to_send()):
            for at in range(0, len(to_server), self.step):
                seen[1].extend(self.server.receive_data(to_server[at : at + self.step]))
            for at in range(0, len(to_client), self.step):
                seen[0].extend(self.client.receive_data(to_client[at : at + self.step]))
        return seen

    def open(self, **headers: str) -> int:
        stream = self.client.open_stream(headers)
        self.carry()
        self.server.reply(stream)
        self.carry()
        return stream
