"""A pod's start as a timeline."""

from xml.etree import ElementTree

from crishim.cli import timeline
from crishim.pb import admin_pb2 as admin

MS = 1_000_000
SVG = "{http://www.w3.org/2000/svg}"


def span(name: str, id: int, parent: int, began: int, ended: int) -> admin.TracedCall.Span:
    return admin.TracedCall.Span(name=name, id=id, parent=parent, began=began * MS, ended=ended * MS)


def start(name: str = "ns/p", code: str = "OK") -> admin.PodStart:
    """Two calls with a minute between them, which is nobody's work; spans in the order they ended."""
    run = admin.TracedCall(rpc="RunPodSandbox", id=1, code="OK", began=0, ended=100 * MS)
    run.spans.extend([span("bridge", 3, 2, 10, 40), span("CNI ADD", 2, 1, 10, 50), span("NRI plugins", 4, 1, 60, 60)])
    create = admin.TracedCall(rpc="CreateContainer", id=9, code=code, began=60_000 * MS, ended=60_100 * MS)
    return admin.PodStart(pod_sandbox_id="0123456789abcdef", pod=name, calls=[create, run])


def test_rows() -> None:
    """Calls in their order, spans below them by depth; the bars share the time in which something was done."""
    found = [(row.name, row.depth, row.at // MS, row.ns // MS, row.left, row.width) for row in timeline.rows(start())]
    assert found == [
        ("RunPodSandbox", 0, 0, 100, 0.0, 0.5),
        ("CNI ADD", 1, 10, 40, 0.05, 0.2),
        ("bridge", 2, 10, 30, 0.05, 0.15000000000000002),
        ("NRI plugins", 1, 60, 0, 0.3, 0.0),
        ("CreateContainer", 0, 60_000, 100, 0.5, 0.5),
    ]
    assert timeline.rows(admin.PodStart()) == []


def test_text() -> None:
    """One line each, no wider than its bar; what is not printable does not reach the terminal."""
    lines = timeline.text(start("ns/\x1b[31m", "INTERNAL")).splitlines()
    assert lines[0] == "ns/?[31m 0123456789abc"
    assert lines[1] == f"RunPodSandbox         0.0 ms   100.0 ms  {'█' * 20}"
    assert lines[5] == f"CreateContainer         60 s   100.0 ms  {' ' * 20}{'█' * 20} INTERNAL"


def test_svg() -> None:
    """It is well-formed, whatever the pod is called, and has a bar for each row."""
    root = ElementTree.fromstring(timeline.svg(start("<&\"'>", "INTERNAL")))
    assert root.findtext(f"{SVG}title") == "<&\"'> 0123456789abc"
    kinds = [bar.get("class") for bar in root.iter(f"{SVG}rect")]
    assert kinds == ["paper", "call", "step", "step", "step", "failed"]
    names = [text.text for text in root.iter(f"{SVG}text")]
    assert {"CNI ADD", "100.0 ms  at 60 s INTERNAL"} <= set(names)
