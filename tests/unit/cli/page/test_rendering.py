"""The whole page from the daemon's answers: what is on it, and that no name is more than text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cli.page import facts
from crishim.cli.page.document import document
from crishim.cli.page.facts import NodeFacts
from crishim.cli.page.picture import MOST_DRAWN
from crishim.cli.page.sections import SECTIONS, TITLES, render
from crishim.pb import cri_pb2 as cri
from tests.unit.cli.page.samples import POD, SECRET, answers, container, net_device, sandbox, way
from tests.unit.cli.page.test_markup import Seen

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)  # what protobuf can hold
HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'--></svg></details><b>", "&lt;b&gt;", "]]>"]


def page(text: str) -> str:
    node = facts.read(answers(text), [way(text, "intent", "done"), way(text, "intent", "moved", "ready")], [text])
    return document(render(node), text)


def skeleton(html: str) -> list[tuple[str, list[str]]]:
    """The elements with the names of their attributes."""
    return [(tag, [name for name, _ in attributes]) for tag, attributes in Seen(html).tags]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_text(text: str) -> None:
    html = page(text)
    assert skeleton(html) == skeleton(page("x"))
    assert text not in html
    assert text in Seen(html).text


@given(TEXTS)
def test_any_name_is_text(text: str) -> None:
    """The same elements and attributes, whatever pods, containers, images, links and devices are called."""
    assert skeleton(page(text)) == skeleton(page("x"))


def test_nothing_runs_but_the_file() -> None:
    """One script, by its address; no attribute that is a script or a style (the policy would refuse them)."""
    tags = Seen(page("x")).tags
    assert [dict(attributes) for tag, attributes in tags if tag == "script"] == [{"src": "page.js", "defer": None}]
    names = {name for _, attributes in tags for name, _ in attributes}
    assert {name for name in names if name.startswith("on") or name == "style"} == set()
    assert not {"style", "iframe", "object", "base", "form"} & {tag for tag, _ in tags}


def test_no_secrets() -> None:
    assert SECRET not in page("x")


def test_what_a_person_reads() -> None:
    """In words, without the picture: state, container with its exit code and restarts, namespaces, device, way."""
    text = Seen(page("web")).text
    for said in (
        "RuntimeReady is false: web",
        "web/web",
        "exited, code 3 (web)",
        f"/run/crishim/pods/{POD}/ns/net",
        "each container's own",
        "the node's",
        "ready, renamed web",
        "+20 ms",
        "back on the node",
        "1 call, 80 ms",
    ):
        assert said in text, said


def test_each_part_has_its_heading_and_place() -> None:
    """A heading for each section, labelled by it; the first link leads past the rest; the language is told."""
    tags = Seen(page("x")).tags
    sections = [dict(attributes) for tag, attributes in tags if tag == "section"]
    assert [s["id"] for s in sections] == list(SECTIONS) == list(TITLES)
    ids = [dict(attributes)["id"] for _, attributes in tags if "id" in dict(attributes)]
    assert len(ids) == len(set(ids))
    assert {s["aria-labelledby"] for s in sections} <= set(ids)
    links = [dict(attributes) for tag, attributes in tags if tag == "a"]
    assert links[0]["href"] == "#pods"
    assert ("html", [("lang", "en")]) in tags
    assert [dict(attributes).get("scope") for tag, attributes in tags if tag == "th"].count("col") > 4


def test_lines_lead_from_link_to_pod() -> None:
    """One for eth0 and one for the device; a device on its way back has another class."""
    found = answers("x")
    for state in ("ready", "returning", "lost"):
        drawn = render(facts.read(found._replace(devices=[net_device("x", state)])))["picture"]
        kinds = [dict(attributes)["class"] for tag, attributes in Seen(drawn).tags if tag == "path"]
        assert kinds == ["wire eth0", f"wire {state}"]


def test_a_full_node_stays_readable() -> None:
    """No more is drawn than can be looked at, no more listed than a page can hold; what is left out is said."""
    many = [sandbox(f"{number:064x}", f"p{number:03}") for number in range(facts.MOST_PODS + 50)]
    node = facts.read(answers()._replace(pods=many, containers=[container("x")] * 500))
    parts = render(node)
    assert parts["picture"].count('class="pod') == MOST_DRAWN
    assert f"{facts.MOST_PODS - MOST_DRAWN} more pods are in the table alone." in parts["picture"]
    assert parts["pods"].count("<article") == facts.MOST_PODS
    assert "50 older pods are not shown." in parts["pods"]


def test_a_node_of_which_nothing_is_known() -> None:
    parts = render(NodeFacts(silence="Status: connection refused"))
    assert "The daemon does not answer: Status: connection refused" in parts["state"]
    assert "There are none." in parts["pods"]


def test_answers_of_another_version() -> None:
    """What is not as expected is left out, not an error: verbose status is JSON without a promise."""
    for info in (
        "",
        "[]",
        "{",
        '{"namespaces": 3, "cniResult": {"interfaces": "eth0"}}',
        '{"cniResult": []}',
        "[" * 10**5,
    ):
        status = cri.PodSandboxStatusResponse(info={"info": info})
        node = facts.read(answers()._replace(details={POD: status}))
        assert node.pods[0].namespaces == ()
        assert render(node)["picture"]
