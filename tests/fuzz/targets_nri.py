"""What an NRI plugin sends: its trunk's bytes, an answer to CreateContainer, updates, and the annotation about it."""

from google.protobuf.message import DecodeError

from crishim.errors import CrishimError
from crishim.nri import answer_checks
from crishim.nri.adjusted import adjusted
from crishim.nri.adjustments import Adjustments
from crishim.nri.session import BadMessage, BadTrunk, Code, Peer, Request, Session
from crishim.nri.updates import Updates
from crishim.nri.validator import REQUIRED_PLUGINS, Validator, refusal
from crishim.pb import nri_pb2 as nri
from tests.fuzz.targets_streams import pieces
from tests.fuzz.work import work

MOST_OUT = 16  # bytes an input byte may have answered, and a constant
MOST_WORK = 240  # instructions an input byte may cost, read one by one, and a constant
CONSTANT = 1 << 14


def trunk(data: bytes) -> None:
    """The trunk fails, or its requests can be answered; what goes out is bounded by what came in."""
    session, sent = Session(Peer.RUNTIME), 0
    for _ in range(3):
        session.call("service", "method", b"")
    try:
        for piece in pieces(data):
            for event in session.receive(piece):
                if isinstance(event, Request):
                    session.fail(event.stream, Code.UNIMPLEMENTED, event.method[:100])
            sent += len(session.data_to_send())
    except (BadTrunk, BadMessage) as error:
        str(error).encode()
    assert sent <= MOST_OUT * len(data) + CONSTANT


def trunk_work(data: bytes) -> None:
    """In proportion to the bytes, however they are cut."""
    assert work(lambda: trunk(data)) <= MOST_WORK * len(data) + CONSTANT


def adjustment(data: bytes) -> None:
    """An answer is refused by name, or applied; after it, the same answer conflicts, or asks for nothing owned."""
    try:
        answer = nri.ContainerAdjustment.FromString(data)
    except DecodeError:
        return
    container = nri.Container(id="c", env=["A=1"], mounts=[nri.Mount(destination="/a")])
    made, why = Adjustments(), ""
    try:
        for plugin in ("00-a", "01-b"):
            answer_checks.check(plugin, answer)
            made.collect(plugin, answer)
            adjusted(container, made.merged)
    except CrishimError as error:
        why = error.message
    assert not why or any(plugin in why for plugin in ("00-a", "01-b"))
    made.owners.message()


def updates(data: bytes) -> None:
    """What several plugins ask for of other containers, and of the one that is updated."""
    try:
        asked = nri.UpdateContainersRequest.FromString(data)
    except DecodeError:
        return
    made = Updates(updating="c", requested=nri.LinuxResources())
    for number, update in enumerate(asked.update):
        try:
            made.collect(f"{number % 3:02}-x", update)
        except CrishimError as error:
            error.message.encode()
    ids = [update.container_id for update in made.others()]
    assert len(ids) == len(set(ids))
    assert "c" not in ids


def required_plugins(data: bytes) -> None:
    """Names, or why it is no list of them."""
    pod = nri.PodSandbox(annotations={REQUIRED_PLUGINS: data.decode(errors="replace")})
    assert isinstance(refusal(Validator(enable=True), nri.ValidateContainerAdjustmentRequest(pod=pod)), str)


TARGETS = {
    "nri-trunk": trunk,
    "nri-trunk-work": trunk_work,
    "nri-adjustment": adjustment,
    "nri-updates": updates,
    "nri-required-plugins": required_plugins,
}
