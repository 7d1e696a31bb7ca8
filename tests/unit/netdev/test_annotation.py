"""Annotations that ask for devices."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.errors import CrishimError, Kind
from crishim.netdev import annotation
from crishim.netdev.annotation import CONTAINER_KEY, POD_KEY
from crishim.netdev.records import Source


def test_the_pods_come_first() -> None:
    """Both annotations are read, each request knows which one it came from."""
    found = annotation.requests(
        {POD_KEY: '{"demo0": {"name": "net1"}}', "other": "x"}, {CONTAINER_KEY: '{"demo1": {}, "demo2": {"name": ""}}'}
    )
    assert [(r.device, r.name, r.origin) for r in found] == [
        ("demo0", "net1", POD_KEY),
        ("demo1", "", CONTAINER_KEY),
        ("demo2", "", CONTAINER_KEY),
    ]
    assert {r.source for r in found} == {Source.ANNOTATION}
    assert annotation.requests({}, {}) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("demo0=net1", "not JSON"),
        ("[]", "not an object"),
        ('"demo0"', "not an object"),
        ('{"demo0": "net1"}', "'demo0'"),
        ('{"demo0": null}', "'demo0'"),
        ('{"demo0": {"Name": "net1"}}', "'Name'"),
        ('{"demo0": {"name": 1}}', "not a string"),
        ('{"demo0": {"name": "eth0"}}', "eth0"),
        ('{"demo0": {"name": "a/b"}}', "'a/b'"),
        ('{"": {}}', "empty"),
        ('{"demo0": {}, "demo0": {}}', "'demo0' is there twice"),
        ('{"demo0": {}, "demo1": {}, "demo1": {}}', "'demo1' is there twice"),
        ('{"\\ud800": {}}', "has the device name '\\ud800'"),
        ('{"demo0": {"zz": 1, "c": 1, "yy": 1, "b": 1, "xx": 1, "a": 1, "ww": 1, "d": 1}}', "unknown key 'a'"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_wrong_annotation_says_what_is_wrong(text: str, says: str) -> None:
    """One sentence, with what stands there and what is expected."""
    with pytest.raises(CrishimError) as caught:
        annotation.parse(POD_KEY, text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text() | st.dictionaries(st.text(), st.none() | st.dictionaries(st.text(), st.text())).map(json.dumps))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """Whatever the annotation holds, the answer is requests or INVALID (PRECONDITION for a reserved name)."""
    try:
        annotation.parse(CONTAINER_KEY, text)
    except CrishimError as error:
        assert error.kind in (Kind.INVALID, Kind.PRECONDITION)  # noqa: PT017
